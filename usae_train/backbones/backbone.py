"""Backbones: a frozen timm model read at one layer, from pictures to patch tokens on a grid."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from usae_train.backbones.identity import WeightsRecord, sampled, trial_picture, weights_hash
from usae_train.backbones.names import check_name
from usae_train.backbones.options import check_values
from usae_train.backbones.precision import DTYPES
from usae_train.files.homes import from_home
from usae_train.images.arrays import canvases_of
from usae_train.runtime.errors import UsageError
from usae_train.runtime.undisturbed import undisturbed
from usae_train.runtime.warned import ReadOtherwise

PRETRAINED = "pretrained"
RANDOM = "random"
PACKAGE = "package:"
LOCAL = "local-dir:"  # timm's word for a folder with config.json and weights
MODULE = "module:"  # and a class and a layer: what was given from Python, and no spec can build (module_backbone.py)
Level = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=4096)]  # tokens of a grid: a picture of 16,384 px in patches of 4
PositiveStd = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BackboneSpec(BaseModel):
    """Everything that is particular to one backbone. Nothing elsewhere asks for a model's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        min_length=1,
        description="timm id, `hf-hub:` and a repository, or `local-dir:` and a folder of timm's form",
    )
    weights: str = Field(
        PRETRAINED,
        description="`pretrained`, `random`, a .safetensors/.pth file of timm's form, or one inside an installed "
        "package: `package:NAME==VERSION/FILE`",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="of the weights' file: another is refused; not checked by default"
    )
    tensors: Literal["named", "ordered"] = Field(
        "named",
        description="which of the file's tensors is which: by timm's names, or (.pth) one to one in their order",
    )
    layer: int = Field(-1, description="block or stage to read; negative counts from the end")
    norm: bool = Field(True, description="apply the model's final norm, where timm can; said where it cannot")
    input_size: int | None = Field(None, ge=1, description="pixels per side; timm's own by default")
    mean: tuple[Level, Level, Level] | None = Field(None, description="normalization; timm's own by default")
    std: tuple[PositiveStd, PositiveStd, PositiveStd] | None = Field(
        None, description="normalization; timm's own by default"
    )
    classes: int = Field(0, ge=0, description="size of the classifier to keep, for class logits; 0 leaves it out")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="what shapes the network, such as `depth: 6`: names that the architecture's classes take in timm",
    )
    seed: int = Field(0, ge=-(2**63), lt=2**64, description="seed of the weights when they are `random`")

    @field_validator("options")
    @classmethod
    def _of_a_network(cls, options: dict[str, Any]) -> dict[str, Any]:
        check_values(options)
        return options

    @field_validator("weights", "model")
    @classmethod
    def _from_home(cls, text: str) -> str:
        if text.startswith("~"):
            return str(from_home(text))
        return LOCAL + str(from_home(text.removeprefix(LOCAL))) if text.startswith(LOCAL + "~") else text

    @model_validator(mode="after")
    def _said_of_a_file(self) -> BackboneSpec:
        if not (self.is_packaged or self.has_own_file) and (self.sha256 is not None or self.tensors == "ordered"):
            raise UsageError(f"sha256 and tensors are of a weight file, and weights is {self.weights!r}")
        if self.tensors == "ordered" and self.weights.endswith(".safetensors"):
            raise UsageError("tensors cannot be `ordered`: a .safetensors file keeps no order")
        return self

    @property
    def is_packaged(self) -> bool:
        """Whether its weights lie inside an installed package."""
        return self.weights.startswith(PACKAGE)

    @property
    def has_own_file(self) -> bool:
        """Whether its weights are a file of the reader's own, of which a USAE folder takes a copy."""
        return self.weights not in (PRETRAINED, RANDOM) and not self.is_packaged

    @property
    def local_folder(self) -> Path | None:
        """The folder of the reader's own that says what the model is, of which a USAE folder takes a copy too."""
        return Path(self.model.removeprefix(LOCAL)) if self.model.startswith(LOCAL) else None

    @property
    def short_name(self) -> str:
        """A name that can be a file's: the id without a hub prefix or the tag of the weights."""
        return self.model.rstrip("/").rpartition("/")[2].removeprefix(LOCAL).partition(".")[0]

    def put_right(self) -> str:
        """What to do when the weights that this gives are not those that were expected."""
        if self.model.startswith(MODULE):
            module = self.model.removeprefix(MODULE)
            return f"give {module}, a module of yours that no folder holds, as in training: load(..., modules={{...}})"
        if self.weights == RANDOM:
            return f"random weights depend on torch's version (here {torch.__version__}); use the one of the training"
        if self.weights == PRETRAINED:
            return f"give the weights of the training as a file in `weights` of its spec; {self.model!r} has others now"
        if self.is_packaged:
            return f"install the package of the training anew, of which its spec says {self.weights}"
        return f"put the weight file of the training at {self.weights}"

    def relative_to(self, folder: Path) -> BackboneSpec:
        """The same spec, with a relative weight file, and a relative `local-dir:`, taken to lie in `folder`."""
        moved = {}
        if self.has_own_file and not Path(self.weights).is_absolute():
            moved["weights"] = str(folder / self.weights)
        if self.local_folder is not None and not self.local_folder.is_absolute():
            moved["model"] = f"{LOCAL}{folder / self.local_folder}"
        return self.model_copy(update=moved) if moved else self


# The paper's three (Thasarathan et al. 2025, section 4), by timm id; DINOv2 is read at 224 px, 16x16 patches.
PAPER: Mapping[str, BackboneSpec] = {
    "siglip": BackboneSpec(model="vit_base_patch16_siglip_224.webli"),
    "dino": BackboneSpec(model="vit_small_patch14_dinov2.lvd142m", input_size=224),
    "vit": BackboneSpec(model="vit_base_patch16_224.augreg2_in21k_ft_in1k"),
}


class Backbone(nn.Module):
    """A frozen timm model that turns canvases into patch tokens.

    Class and register tokens are dropped, whatever layout the model has (timm's `forward_intermediates`). Gradients
    reach the canvas, never the weights.

    Args:
        name: what the backbone is called in a USAE.
        spec: its settings.

    Attributes:
        run_in: what it computes in, float32 until it is told otherwise; tokens come back in float32 all the same.

    Raises:
        ValueError: for an unknown timm id, a weight file that is missing, broken or of another model, or a hub that
            cannot be reached.
    """

    mean: Tensor
    std: Tensor

    @undisturbed
    def __init__(self, name: str, spec: BackboneSpec) -> None:
        # here, for timm takes 70 MB, and not all that knows of backbones builds one: `fit STORE` does not
        from usae_train.backbones.allocator import keep_memory
        from usae_train.backbones.folding import lay_channels_last
        from usae_train.backbones.reading import forget_caches
        from usae_train.backbones.timm_models import create_model, data_config
        from usae_train.backbones.weight_files import first_line

        super().__init__()
        if spec.model.startswith(MODULE):
            raise UsageError(f"{name}: {spec.put_right()}")
        keep_memory()
        self.name, self.spec = name, spec
        self.run_in = torch.float32
        self.model = create_model(name, spec).eval().requires_grad_(False)
        self.model.register_load_state_dict_post_hook(forget_caches)
        self._weights_hash = weights_hash(self.model)  # before anything is folded
        self._attentions = [m for m in self.model.modules() if isinstance(getattr(m, "fused_attn", None), bool)]
        config = data_config(self.model)
        self.input_size: int = spec.input_size or config["input_size"][-1]
        self._norm = spec.norm
        self.register_buffer("mean", torch.tensor(spec.mean or config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std or config["std"]).view(3, 1, 1), persistent=False)
        try:
            features = self._folded()
        except (AssertionError, RuntimeError, AttributeError, TypeError) as error:
            own = "x".join(str(side) for side in config["input_size"][-2:])
            raise UsageError(
                f"{name}: {spec.model!r} cannot be read at layer {spec.layer} and {self.input_size} px: "
                f"{first_line(error)}; its own `input_size` is {own}"
            ) from error
        self._layout = lay_channels_last(self.model)
        self.width: int = features.shape[1]
        self.grid: tuple[int, int] = (features.shape[2], features.shape[3])

    def forward(self, canvas: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Patch tokens of pictures.

        Args:
            canvas: (batch, 3, height, width), RGB, float 0..1. Resized to `input_size` when it differs.
            grid: (rows, cols) to resample the tokens to, bilinear with antialiasing; the backbone's own by default.

        Returns:
            (batch, rows * cols, width), row by row, in the backbone's own units.
        """
        if self.run_in == torch.float32:  # in whatever the caller's autocast says
            return as_tokens(self._features(self._normalized(canvas)), grid)
        with torch.autocast(self.mean.device.type, self.run_in):
            features = self._features(self._normalized(canvas)).float()
        return as_tokens(features, grid)

    def logits(self, canvas: Tensor) -> Tensor:
        """What the model's own classifier says of pictures (batch, 3, height, width): (batch, classes).

        Raises:
            ValueError: for a backbone whose spec keeps no classifier.
        """
        self._check_classifier()
        logits: Tensor = self.model(self._normalized(canvas))
        return logits

    def embedding(self, canvas: Tensor) -> Tensor:
        """What the whole model makes of pictures (batch, 3, height, width) before its classifier: (batch, features)."""
        features = self.model.forward_features(self._normalized(canvas))  # type: ignore[operator]  # timm's own methods
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)

    def tokens_and_logits(self, canvas: Tensor, grid: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """What `forward` and `logits` say of pictures, in one pass through the network where timm's parts allow it.

        Raises:
            ValueError: for a backbone whose spec keeps no classifier.
        """
        self._check_classifier()
        if not self._in_one_pass:
            return self(canvas, grid), self.logits(canvas)
        features, logits = self._features_and_logits(self._normalized(canvas))
        return as_tokens(features, grid), logits

    @undisturbed
    @torch.no_grad()
    def record(self) -> WeightsRecord:
        """What tells these weights from others: their hash, and tokens of a test picture in float32."""
        picture = trial_picture(self.input_size).to(self.mean.device)
        tokens = as_tokens(self._features(self._normalized(picture)), None)
        return WeightsRecord(sha256=self._weights_hash, tokens=sampled(tokens[0]))

    @undisturbed
    @torch.no_grad()
    def notes(self) -> list[str]:
        """A sentence for each thing in which it is read otherwise than its spec makes one expect; takes two passes."""
        from usae_train.backbones.folding import Watched
        from usae_train.backbones.reading import goes_on, norm_left_out, of_another_form
        from usae_train.backbones.timm_models import data_config

        picture = self._normalized(trial_picture(self.input_size).to(self.mean.device))
        with Watched(self.model) as reading:
            read = self._features(picture)
        return [
            *of_another_form(self.spec, data_config(self.model)["input_size"][-2:]),
            *norm_left_out(self.model, self.spec, self._norm, reading.unused),
            *goes_on(self.model, self.spec, read, picture),
        ]

    def called(self, name: str) -> Backbone:
        """The same backbone, to the last tensor, by another name."""
        same = copy.copy(self)
        same.name = name
        return same

    def _check_classifier(self) -> None:
        if self.spec.classes == 0:
            raise UsageError(f"{self.name} has no classifier; set `classes` in its spec to the number of its classes")

    def _normalized(self, canvas: Tensor) -> Tensor:
        """Canvases at the model's own input size, mean and std."""
        if not isinstance(canvas, Tensor):
            canvas = canvases_of(canvas, "canvases").to(self.mean.device)
        if canvas.ndim != 4 or canvas.shape[1] != 3:
            raise UsageError(f"{self.name}: canvas has shape {tuple(canvas.shape)}; expected (batch, 3, height, width)")
        # On the CPU torch's fused attention goes backward slowly: 20 of 33 ms a block of the demo's ViT, and 1.50 s
        # instead of 1.24 s forward and backward through a ViT-B/16 in bfloat16 (6 crops of 224 px, 2 cores). Forward
        # alone it is faster: 82 instead of 92 ms a picture through 9 blocks of a ViT-S/14 (224 px, one thread).
        fused = canvas.device.type != "cpu" or not torch.is_grad_enabled()
        for attention in self._attentions:
            attention.fused_attn = fused  # type: ignore[assignment]  # timm's own switch
        side = (self.input_size, self.input_size)
        if canvas.shape[-2:] != side:
            canvas = functional.interpolate(canvas, side, mode="bilinear", antialias=True, align_corners=False)
        return ((canvas - self.mean) / self.std).contiguous(memory_format=self._layout)

    @torch.no_grad()
    def _folded(self) -> Tensor:
        """Batch norms put into the convolutions, wherever a pass shows that it changes nothing; the features of zeros.

        Not those that the classifier sees otherwise than the layer that is read.
        """
        from usae_train.backbones.folding import Watched, fold

        zeros = torch.zeros(1, 3, self.input_size, self.input_size)
        with Watched(self.model) as reading:
            features = self._first_features(zeros)
        pairs = reading.pairs(features)
        self._in_one_pass = False
        if self.spec.classes:
            with Watched(self.model) as classifying:
                logits = self.model(zeros)
            # a few models' last layer is not what their head takes, and some have a head of another kind
            joint = self._features_and_logits(zeros)
            self._in_one_pass = torch.allclose(joint[0], features) and torch.allclose(joint[1], logits)
            both = classifying.pairs(logits)
            pairs = [pair for pair in both if pair in pairs or not reading.ran(pair.convolution)]
        fold(self.model, pairs)
        return features

    def _first_features(self, normalized: Tensor) -> Tensor:
        """A layer's features; without a norm from now on where the model refuses to apply one."""
        try:
            return self._features(normalized)
        except AssertionError:  # how timm's say so; of a wrong size they say it again
            if not self._norm:
                raise
            self._norm = False
            return self._features(normalized)

    def _features(self, normalized: Tensor) -> Tensor:
        features: list[Tensor] = self.model.forward_intermediates(  # type: ignore[operator]  # timm's own method
            normalized, indices=[self.spec.layer], norm=self._norm, stop_early=True, intermediates_only=True
        )
        return features[0]

    def _features_and_logits(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        features: list[Tensor]
        last, features = self.model.forward_intermediates(  # type: ignore[operator]
            normalized, indices=[self.spec.layer], norm=self._norm
        )
        return features[0], self.model.forward_head(last)  # type: ignore[operator]


def as_tokens(features: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Features (batch, width, rows, cols), resampled to a grid where another is asked for: (batch, token, width)."""
    if grid is not None and features.shape[-2:] != grid:
        features = functional.interpolate(features.float(), grid, mode="bilinear", antialias=True, align_corners=False)
    return features.flatten(2).mT


def listed(specs: Mapping[str, BackboneSpec]) -> list[list[Any]]:
    """Names and specs, ready for JSON, in their order: it decides what is drawn when."""
    return [[name, spec.model_dump(mode="json")] for name, spec in specs.items()]


def build_backbones(specs: Mapping[str, BackboneSpec | Backbone], told: bool = True) -> dict[str, Backbone]:
    """Build every backbone of a set of specs, in their order.

    Args:
        specs: by the backbones' names; one that is built already stays as it is.
        told: warn, with `ReadOtherwise`, where one is read otherwise than its spec makes one expect.

    Raises:
        ValueError: for a name that none can have, or a spec that cannot be built.
    """
    for name in specs:  # before anything is fetched, and hours of extraction
        check_name(name)
    built = {
        name: own.called(name) if isinstance(own, Backbone) else Backbone(name, own) for name, own in specs.items()
    }
    for name, backbone in built.items():
        for note in backbone.notes() if told else ():
            warnings.warn(f"{name}: {note}", ReadOtherwise, stacklevel=2)
    return built


def check_run_in(dtype: str) -> None:
    """Complain of a dtype that backbones do not run in.

    Raises:
        ValueError: with those that they do.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r}: expected {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")


def run_backbones_in(backbones: Iterable[Backbone], dtype: str) -> None:
    """Let backbones compute in `float32` or `bfloat16`; `auto` is bfloat16 on a GPU and float32 elsewhere.

    Raises:
        ValueError: for another name.
    """
    check_run_in(dtype)
    for backbone in backbones:
        half = dtype == "bfloat16" or (dtype == "auto" and backbone.mean.device.type != "cpu")
        backbone.run_in = torch.bfloat16 if half else torch.float32


def largest_input(backbones: Mapping[str, Backbone]) -> int:
    """The largest input size of some backbones, px: what is read at it serves all of them."""
    return max(backbone.input_size for backbone in backbones.values())


def common_grid(backbones: Sequence[Backbone]) -> tuple[int, int]:
    """The coarsest of the backbones' own grids, to which the others are resampled (the paper: 16x16 to 14x14)."""
    return min((b.grid for b in backbones), key=lambda grid: grid[0] * grid[1])
