"""Settings of a maximization: what the command line and recipes take, and what run.json and every PNG keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypedDict, get_args

from pydantic import ConfigDict, Field, field_validator

from usae_train.backbones.precision import ComputeDtype
from usae_train.files.place_names import name_as_utf8
from usae_train.files.validation import Settings
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import FormerName
from usae_viz.concepts.written_edits import EditTexts
from usae_viz.custom_code.importing import check_custom
from usae_viz.custom_code.part import CustomPart
from usae_viz.verification.verdict import VerdictSettings
from usae_viz.views.presets import AUGMENTATION, AUGMENTATION_PRESETS, Augmentation, Transform

Mode = Literal["per-model", "shared", "coupled"]
ParameterizationName = Literal["fourier", "maco", "pixel"]
SHARED = "shared"
MAX_SEED = 2**32
MIN_CANVAS_SIZE, MAX_CANVAS_SIZE = 16, 4096  # pixels
# Of one drawing: far more than anyone draws, and few enough to be listed.
MAX_SEEDS, MAX_VIEWS, MAX_STEPS = 10_000, 10_000, 1_000_000_000


class MaximizeSettings(Settings):
    """How pictures are drawn; views/presets.py, optimization/ and fourier.py say why the defaults are what they are."""

    model_config = ConfigDict(allow_inf_nan=False)
    FORMER: ClassVar[Mapping[str, str]] = {"image": "parameterization", "crops": "views", "settle": "patience"}

    mode: Mode = Field(
        "per-model",
        description="`per-model`: one picture per backbone; `shared`: one for all, their gradients balanced; "
        "`coupled`: one per backbone around a common layout",
    )
    parameterization: ParameterizationName | CustomPart = Field(
        "fourier",
        description="what the optimizer changes: `fourier`, `maco`, `pixel`, or `module:Name` of your own, with "
        "--allow-code; in Python a class or function",
    )
    size: int | None = Field(
        None,
        ge=MIN_CANVAS_SIZE,
        le=MAX_CANVAS_SIZE,
        description="side of the canvas in pixels; 16/7 of the backbones' largest input size by default (512 for 224)",
    )
    steps: int = Field(96, ge=1, le=MAX_STEPS, description="optimizer steps")
    views: int = Field(4, ge=1, le=MAX_VIEWS, description="augmented views per step")
    learning_rate: float | None = Field(
        None, gt=0, le=1e37, description="Adam's; fourier 0.25, maco 0.1, pixel 0.05 by default"
    )
    augmentation: Augmentation = Field(
        AUGMENTATION_PRESETS["default"],
        description="`default`, `maco`, `lucid` or `none`; in recipes and Python also settings of its own",
    )
    transforms: tuple[Transform, ...] = Field(
        (),
        description="transforms of your own, `module:name` with --allow-code, in the place of the augmentation; "
        "`augmentation` among them stands for it. Can be given several times",
    )
    edits: EditTexts = Field(
        (),
        json_schema_extra={"option": "--edit"},
        description="draw through a backbone with concepts edited at every patch: `lite0:12=0` takes one away, `*2` "
        "scales it, `+1.5` adds to it; in recipes and Python also {lite0: {12: 0}}. Can be given several times",
    )
    whole_first: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the steps, at the beginning, in which crops are at least 0.6 of the side; by default "
        "for a class 0.3 with `feature_statistics` and 0.7 without, 0 for all else and with `start`",
    )
    feature_statistics: float | None = Field(
        None,
        ge=0,
        le=10_000,
        description="how strongly features are held to the means and spreads that a backbone's batch norms saw in "
        "training, as closely as photographs keep to them; by default 200 for a class of a network with eight batch "
        "norms or more, 0 for all else and with `start`",
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
        description="for fourier: the picture's root mean square in logits of decorrelated colour, which is held; "
        "1.5 by default, 4 for a USAE of the demo's scenes",
    )
    spectrum: str | None = Field(
        None,
        min_length=1,
        description="for maco: `photographs`, `demo`, `1/f`, or a file of usae-train spectrum; photographs by "
        "default, demo for a USAE of the demo's scenes",
    )
    start: str | None = Field(
        None, min_length=1, description="a picture file to start from (accentuation) instead of from noise"
    )
    reference: str | None = Field(
        None, min_length=1, description="a picture file to compare with; the start by default"
    )
    dtype: ComputeDtype = Field(
        "auto",
        description="what the backbones compute in: `float32` or `bfloat16`; auto: bfloat16 where that is faster",
    )
    patience: int | None = Field(
        None,
        ge=2,
        description="stop early when the mean score over this many steps is no better than over as many before; "
        "never by default",
    )
    snapshots: int | None = Field(
        None, ge=1, description="keep the picture every N steps, as an animation; none by default"
    )
    alpha: bool = Field(False, description="write PNGs that are transparent where gradients were small")
    seed: int = Field(0, ge=0, lt=MAX_SEED, description="decides the start and the augmentation draws")
    seeds: int = Field(1, ge=1, le=MAX_SEEDS, description="how often each is drawn, with seed, seed + 1 and so on")
    memory: float | None = Field(
        None,
        gt=0,
        description="GB of memory that pictures drawn at once may take, on a GPU 60% of what is free by default; a CPU "
        "draws one at a time, and only checks that one fits",
    )
    verify: int | None = Field(
        None,
        ge=0,
        description="score the pictures for this concept; for the objective's own concept or class by default",
    )
    verdict: VerdictSettings = Field(
        VerdictSettings(),
        description="when a picture is `strong` or `failed`: `rank=1,percentile=99.9`; of rank, percentile, margin"
        " (times noise), share, probability, class_rank",
    )

    @property
    def custom_parts(self) -> tuple[CustomPart, ...]:
        """Those of them that are custom code."""
        return tuple(part for _, part in self._custom_by_kind())

    @property
    def given_pictures(self) -> dict[str, str]:
        """{`start` or `reference`: the file that a drawing starts from or compares with}."""
        files = {"start": self.start, "reference": self.reference}
        return {name: file for name, file in files.items() if file is not None}

    def check_custom(self, folder: Path, allow_code: bool) -> None:
        """Raise a ValueError as `imported`; nothing is imported."""
        for what, part in self._custom_by_kind():
            if part.target is None:
                check_custom(part.text, folder, allow_code, what)

    own_parts, check_own = FormerName("custom_parts"), FormerName("check_custom")

    def _custom_by_kind(self) -> Iterator[tuple[str, CustomPart]]:
        for what, part in (("parameterization", self.parameterization), *(("transform", t) for t in self.transforms)):
            if isinstance(part, CustomPart):
                yield what, part

    def imported(self, folder: Path, allow_code: bool) -> Self:
        """The same with the code that they name, which is looked for in a folder first.

        Raises:
            ValueError: without permission, or for what is not there.
        """
        if not self.custom_parts:
            return self

        def one(part: Any, what: str) -> Any:
            return part.imported(folder, allow_code, what) if isinstance(part, CustomPart) else part

        update = {
            "parameterization": one(self.parameterization, "parameterization"),
            "transforms": tuple(one(each, "transform") for each in self.transforms),
        }
        return self.model_copy(update={name: new for name, new in update.items() if new != getattr(self, name)})

    @field_validator("start", "reference", "spectrum", mode="before")
    @classmethod
    def _kept_as_text(cls, value: Any) -> Any:
        return name_as_utf8(value) if isinstance(value, str) else value  # `path_of_name` finds it again

    @field_validator("parameterization", mode="before")
    @classmethod
    def _parse_parameterization(cls, value: Any) -> Any:
        return _known_or_custom(value, get_args(ParameterizationName))

    @field_validator("transforms", mode="before")
    @classmethod
    def _parse_transforms(cls, value: Any) -> Any:
        listed = [value] if isinstance(value, str) or callable(value) else value
        if not isinstance(listed, Sequence):
            raise UsageError("expected a list of transforms")
        if listed.count(AUGMENTATION) > 1:
            raise UsageError(f"`{AUGMENTATION}` is in it twice")
        return tuple(_known_or_custom(each, (AUGMENTATION,)) for each in listed)

    @field_validator("augmentation", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in AUGMENTATION_PRESETS:
                raise UsageError(f"unknown preset, expected one of {', '.join(AUGMENTATION_PRESETS)}")
            return AUGMENTATION_PRESETS[value]
        return value


def _known_or_custom(value: Any, names: Sequence[str]) -> Any:
    """A name that is known as it is, anything else as custom code."""
    if isinstance(value, str) and value in names:
        return value
    try:
        return CustomPart.from_value(value)
    except UsageError as error:
        choices = ", ".join(f"`{name}`" for name in names)
        raise UsageError(f"expected {choices}, `module:Name`, or in Python a callable") from error


class MaximizeOptions(TypedDict, total=False):
    """The fields of `MaximizeSettings` by name, for editors and type checkers; a test holds the two alike."""

    mode: Mode
    parameterization: ParameterizationName | Callable[..., Any]
    size: int | None
    steps: int
    views: int
    learning_rate: float | None
    augmentation: Augmentation | str
    transforms: Sequence[Literal["augmentation"] | Callable[..., Any]]
    edits: Mapping[str, Mapping[int | str, float | str | tuple[str, float]]] | Sequence[str]
    whole_first: float | None
    feature_statistics: float | None
    decay: float | None
    contrast: float | None
    spectrum: str | None
    dtype: ComputeDtype
    patience: int | None
    snapshots: int | None
    alpha: bool
    seed: int
    seeds: int
    memory: float | None
    verify: int | None
    verdict: VerdictSettings | str | dict[str, float]
