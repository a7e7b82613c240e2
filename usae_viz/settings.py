"""Settings of a maximization: what the command line and recipes take, and what run.json and every PNG keep."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from usae_viz.augmentations import PRESETS, Augmentation

Mode = Literal["per-model", "shared"]
Image = Literal["fourier", "maco", "pixel"]
SHARED = "shared"
MAX_SEED = 2**32


class MaximizeSettings(BaseModel):
    """How pictures are drawn. Of the defaults only the learning rate was tuned (fourier.py says how)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field("per-model", description="a picture a backbone, or one for all with balanced gradients")
    image: Image = Field("fourier", description="parameterization")
    size: int | None = Field(
        None, ge=16, le=4096, description="canvas side, pixels; the largest input size unless told"
    )
    steps: int = Field(128, ge=1, description="optimizer steps")
    crops: int = Field(6, ge=1, description="views a step")
    learning_rate: float | None = Field(None, gt=0, description="Adam's; the parameterization's own unless told")
    augmentation: Augmentation = Field(PRESETS["default"], description=f"settings, or a preset ({', '.join(PRESETS)})")
    spectrum: str | None = Field(
        None, description="MACO's: a file of usae-train spectrum; the packaged one unless told"
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="what the backbones run in")
    seed: int = Field(0, ge=0, lt=MAX_SEED, description="decides the start and the augmentation draws")

    @field_validator("augmentation", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in PRESETS:
                raise ValueError(f"unknown preset, expected one of {', '.join(PRESETS)}")
            return PRESETS[value]
        return value
