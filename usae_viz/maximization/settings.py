"""Settings of a maximization: what the command line and recipes take, and what run.json and every PNG keep."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from usae_train.files.place_names import printable
from usae_viz.augmentations import PRESETS, Augmentation
from usae_viz.verification.verdict import VerdictSettings

Mode = Literal["per-model", "shared", "coupled"]
Image = Literal["fourier", "maco", "pixel"]
Dtype = Literal["auto", "float32", "bfloat16"]
SHARED = "shared"
MAX_SEED = 2**32
MIN_SIZE, MAX_SIZE = 16, 4096  # pixels
# Of one drawing: far more than anybody draws, and few enough to be counted through. A hundred million seeds were.
MAX_SEEDS, MAX_CROPS, MAX_STEPS = 10_000, 10_000, 1_000_000_000


class MaximizeSettings(BaseModel):
    """How pictures are drawn; what chose the defaults stands in augmentations.py, resolving.py and fourier.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = Field(
        "per-model", description="a picture a backbone; one for all; or one a backbone around a common layout"
    )
    image: Image = Field("fourier", description="parameterization")
    size: int | None = Field(
        None,
        ge=MIN_SIZE,
        le=MAX_SIZE,
        description="canvas side, pixels; 16/7 of the largest input size unless told (512 for 224)",
    )
    steps: int = Field(96, ge=1, le=MAX_STEPS, description="optimizer steps")
    crops: int = Field(4, ge=1, le=MAX_CROPS, description="views a step")
    learning_rate: float | None = Field(
        None, gt=0, le=1e37, description="Adam's; the parameterization's own unless told"
    )
    augmentation: Augmentation = Field(PRESETS["default"], description=f"settings, or a preset ({', '.join(PRESETS)})")
    whole_first: float | None = Field(
        None, ge=0, le=1,
        description="share of the steps, at the beginning, in which crops are of at least 0.6 of the side; unless told "
        "0.7 for a class, which a whole picture has, and 0 for what patches have",
    )  # fmt: skip
    decay: float | None = Field(
        None, ge=0, le=4, description="fourier's: the coefficients' scale falls as 1/f^decay; 1.5 unless told"
    )
    contrast: float | None = Field(
        None, gt=0, le=10,
        description="fourier's: root mean square of the picture in logits of decorrelated colour, which is held; 1.5 "
        "unless told, 4 for a USAE of the demo's scenes",
    )  # fmt: skip
    spectrum: str | None = Field(
        None,
        min_length=1,
        description="MACO's: `photographs`, `demo`, `1/f`, or a file of usae-train spectrum; photographs unless told, "
        "or demo for a USAE of the demo's scenes",
    )
    start: str | None = Field(None, min_length=1, description="a picture file to start from instead of from noise")
    reference: str | None = Field(
        None, min_length=1, description="a picture file to compare with; the start unless told"
    )
    dtype: Dtype = Field(
        "auto", description="what the backbones run in; auto: bfloat16 where that is faster, float32 elsewhere"
    )
    settle: int | None = Field(
        None, ge=2, description="stop when the mean score of so many steps is no better than that of as many before"
    )
    snapshots: int | None = Field(None, ge=1, description="keep the picture every so many steps")
    alpha: bool = Field(False, description="write PNGs with transparency: what the gradient never asked for is clear")
    seed: int = Field(0, ge=0, lt=MAX_SEED, description="decides the start and the augmentation draws")
    seeds: int = Field(1, ge=1, le=MAX_SEEDS, description="draw so many times: seed, seed + 1, ...")
    memory: float | None = Field(
        None, gt=0, description="GB that the pictures drawn at once may take; CPU: one objective at a time unless told"
    )
    verify: int | None = Field(
        None,
        ge=0,
        description="score the pictures for this concept; for the objective's first concept, or class, unless told",
    )
    verdict: VerdictSettings = Field(
        VerdictSettings(), description="thresholds of `strong` and `failed`, such as `{rank: 1, percentile: 99.9}`"
    )

    @field_validator("start", "reference", "spectrum", mode="before")
    @classmethod
    def _kept_as_text(cls, value: Any) -> Any:
        return printable(value) if isinstance(value, str) else value  # `named_place` finds it again

    @field_validator("augmentation", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in PRESETS:
                raise ValueError(f"unknown preset, expected one of {', '.join(PRESETS)}")
            return PRESETS[value]
        return value
