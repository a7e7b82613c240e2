"""What of several trainings a consensus keeps."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from usae_train.files.validation import Settings

SHARE = 0.5
# As Paulo and Belrose 2025 (arXiv 2501.16615) have it; with 0.5 twice as many concepts are kept, and two spaces agree
# to 0.65 instead of 0.75 (tests/benchmarks/consensus.py has the table).
ALIKE = 0.7


class ConsensusSettings(Settings):
    """Which concepts are one, and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(
        SHARE, gt=0, le=1, description="keep the concepts that come back in at least such a share of the trainings"
    )
    alike: float = Field(
        ALIKE, gt=0, le=1, description="cosine over all backbones from which on two trainings' concepts are one"
    )
