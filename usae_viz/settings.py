"""Settings of a maximization: what the command line and recipes take, and what run.json and every PNG keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypedDict

from pydantic import ConfigDict, Field, field_validator

from usae_train.backbones.precision import RunIn
from usae_train.files.place_names import printable
from usae_train.files.validation import Settings
from usae_train.runtime.errors import UsageError
from usae_viz.verification.verdict import VerdictSettings
from usae_viz.views.presets import PRESETS, Augmentation

Mode = Literal["per-model", "shared", "coupled"]
ParameterizationName = Literal["fourier", "maco", "pixel"]
SHARED = "shared"
MAX_SEED = 2**32
MIN_SIZE, MAX_SIZE = 16, 4096  # pixels
# Of one drawing: far more than anybody draws, and few enough to be counted through. A hundred million seeds were.
MAX_SEEDS, MAX_VIEWS, MAX_STEPS = 10_000, 10_000, 1_000_000_000


class MaximizeSettings(Settings):
    """How pictures are drawn; what chose the defaults stands in views/presets.py, resolving.py and fourier.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    FORMER: ClassVar[Mapping[str, str]] = {"image": "parameterization", "crops": "views", "settle": "patience"}

    mode: Mode = Field(
        "per-model",
        description="`per-model`: one image per backbone; `shared`: one for all, their gradients balanced; "
        "`coupled`: one per backbone around a common layout",
    )
    parameterization: ParameterizationName = Field("fourier", description="what the optimizer changes")
    size: int | None = Field(
        None,
        ge=MIN_SIZE,
        le=MAX_SIZE,
        description="side of the canvas in pixels; 16/7 of the backbones' largest input size by default (512 for 224)",
    )
    steps: int = Field(96, ge=1, le=MAX_STEPS, description="optimizer steps")
    views: int = Field(4, ge=1, le=MAX_VIEWS, description="augmented views per step")
    learning_rate: float | None = Field(
        None, gt=0, le=1e37, description="Adam's; fourier 0.25, maco 0.1, pixel 0.05 by default"
    )
    augmentation: Augmentation = Field(
        PRESETS["default"],
        description="`default`, `maco`, `lucid` or `none`; in recipes and Python also settings of its own",
    )
    whole_first: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the steps, at the beginning, in which crops are of at least 0.6 of the side; 0.7 "
        "for a class, which a whole picture has, 0 for all else by default",
    )
    decay: float | None = Field(
        None,
        ge=0,
        le=4,
        description="for fourier: its coefficients are scaled by 1/f^decay; higher is smoother; 1.5 by default",
    )
    contrast: float | None = Field(
        None,
        gt=0,
        le=10,
        description="for fourier: the image's root mean square in logits of decorrelated colour, which is held; "
        "1.5 by default, 4 for a USAE of the demo's scenes",
    )
    spectrum: str | None = Field(
        None,
        min_length=1,
        description="for maco: `photographs`, `demo`, `1/f`, or a file of usae-train spectrum; photographs by "
        "default, demo for a USAE of the demo's scenes",
    )
    start: str | None = Field(
        None, min_length=1, description="an image file to start from (accentuation) instead of from noise"
    )
    reference: str | None = Field(None, min_length=1, description="an image file to compare with; the start by default")
    dtype: RunIn = Field(
        "auto",
        description="what the backbones compute in: `float32`, `bfloat16`; `auto` is bfloat16 where that is faster",
    )
    patience: int | None = Field(
        None,
        ge=2,
        description="stop early when the mean score of so many steps is no better than that of as many before; "
        "never by default",
    )
    snapshots: int | None = Field(
        None, ge=1, description="keep the image every so many steps, as an animation; none by default"
    )
    alpha: bool = Field(False, description="write PNGs with transparency: clear where the gradient asked little")
    seed: int = Field(0, ge=0, lt=MAX_SEED, description="decides the start and the augmentation draws")
    seeds: int = Field(1, ge=1, le=MAX_SEEDS, description="draw each so many times, with seed, seed + 1 and so on")
    memory: float | None = Field(
        None,
        gt=0,
        description="GB that the images drawn at once may take; on a GPU 60% of what is free by default; a CPU "
        "draws one after the other, and only asks whether one fits",
    )
    verify: int | None = Field(
        None,
        ge=0,
        description="score the images for this concept; for the objective's own concept or class by default",
    )
    verdict: VerdictSettings = Field(
        VerdictSettings(),
        description="when an image is `strong` or `failed`: `rank=1,percentile=99.9`; of rank, percentile, margin"
        " (times noise), share, probability, class_rank",
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
                raise UsageError(f"unknown preset, expected one of {', '.join(PRESETS)}")
            return PRESETS[value]
        return value


class MaximizeOptions(TypedDict, total=False):
    """The fields of `MaximizeSettings` by name, for editors and type checkers; a test holds the two alike."""

    mode: Mode
    parameterization: ParameterizationName
    size: int | None
    steps: int
    views: int
    learning_rate: float | None
    augmentation: Augmentation | str
    whole_first: float | None
    decay: float | None
    contrast: float | None
    spectrum: str | None
    dtype: RunIn
    patience: int | None
    snapshots: int | None
    alpha: bool
    seed: int
    seeds: int
    memory: float | None
    verify: int | None
    verdict: VerdictSettings | str | dict[str, float]
