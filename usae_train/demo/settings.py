"""What rebuilding an embedded USAE, `demo` or `photos`, can be asked for."""

from __future__ import annotations

from pydantic import Field

from usae_train.files.validation import Settings


class BuildSettings(Settings):
    """What a rebuilt USAE depends on, apart from the code."""

    seed: int = Field(0, ge=0, description="decides every random draw except those of init_seed")
