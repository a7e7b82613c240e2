"""Settings of agreement between trainings; no torch."""

from __future__ import annotations

from pydantic import Field

from usae_train.files.validation import Settings


class AgreementSettings(Settings):
    """How many trainings there are, and what they must have in common."""

    starts: int = Field(
        1,
        ge=1,
        le=100,
        description="train from this many starts, and write what the trainings agree on (see consensus); the same "
        "command resumes",
    )
    share: float = Field(0.5, description="keep the concepts found in at least this share of the trainings")
    alike: float = Field(0.7, description="smallest cosine, over all backbones, of concepts that count as one")
