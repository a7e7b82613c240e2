"""Settings of an extraction: what the command line takes, and what Python takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from usae_train.backbones.precision import BackbonesDtype
from usae_train.files.validation import Settings
from usae_train.images.failures import MAX_BROKEN
from usae_train.images.settings import IMAGE_BATCH, ImageBatch, Limit, MaxBroken, Readers

DEFAULT_BACKBONES = "paper"  # what `--backbones` is where it is not given
StorageDtype = Literal["bfloat16", "float16", "float32"]


class ExtractSettings(Settings):
    """What an activation store is made of, and how it is written."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "dtype": "storage_dtype",
        "run_in": "compute_dtype",
        "batch": "image_batch",
        "workers": "readers",
    }

    backbones: str = Field(
        DEFAULT_BACKBONES, description="`paper`, `demo`, `photos`, a YAML of specs, or comma-separated timm ids"
    )
    storage_dtype: StorageDtype = Field(
        "bfloat16", description="what tokens are stored in: `bfloat16`, `float16` or `float32`"
    )
    compute_dtype: BackbonesDtype = "auto"
    image_batch: ImageBatch = IMAGE_BATCH
    readers: Readers = 0
    max_broken: MaxBroken = MAX_BROKEN
    limit: Limit = None
