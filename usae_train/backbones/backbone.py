"""Backbones: a frozen timm model read at one layer, from pictures to patch tokens on a grid."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.backbones.feature_statistics import keep_statistics, statistics_distances
from usae_train.backbones.identity import WeightsRecord, sample_tokens, trial_picture, weights_hash
from usae_train.backbones.names import check_name
from usae_train.backbones.precision import DTYPES
from usae_train.backbones.reading import forget_caches, not_last_warning, not_square_warning, unused_norm_warning
from usae_train.backbones.sites import check_site, read_sites
from usae_train.backbones.spec import MODULE, BackboneSpec, without_classifier
from usae_train.images.arrays import canvases_of
from usae_train.runtime.allocator import keep_memory
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import FormerName, UnexpectedReadingWarning

if TYPE_CHECKING:
    from usae_train.backbones.folding import Pair


class Backbone(nn.Module):
    """A frozen timm model that turns canvases into patch tokens.

    Class and register tokens are dropped, whatever layout the model has (timm's `forward_intermediates`). Gradients
    reach the canvas, never the weights.

    Args:
        name: what the backbone is called in a USAE.
        spec: its settings.
        beside: specs of the same network, which `read_as` then reads as well, with the same weights.

    Attributes:
        compute_dtype: float32 until another is set; tokens come back in float32 all the same.

    Raises:
        ValueError: for an unknown timm id, a weight file that is missing, broken or of another model, or a hub that
            cannot be reached.
    """

    mean: Tensor
    std: Tensor

    @with_torch_defaults
    def __init__(self, name: str, spec: BackboneSpec, beside: Sequence[BackboneSpec] = ()) -> None:
        # here, for timm takes 70 MB, and not all that knows of backbones builds one: `fit STORE` does not
        from usae_train.backbones.folding import fold, lay_channels_last
        from usae_train.backbones.timm_models import create_model, data_config

        super().__init__()
        if spec.model.startswith(MODULE):
            raise UsageError(f"{name}: {spec.remedy()}")
        keep_memory()
        self.name, self.spec = name, spec
        self.compute_dtype = torch.float32
        self.model = create_model(name, spec).eval().requires_grad_(False)
        self.model.register_load_state_dict_post_hook(forget_caches)
        self._weights_hash = weights_hash(self.model)  # before anything is folded
        self._attentions = [m for m in self.model.modules() if isinstance(getattr(m, "fused_attn", None), bool)]
        config = data_config(self.model)
        self.input_size: int = spec.input_size or config["input_size"][-1]
        self._norm = spec.norm
        self.register_buffer("mean", torch.tensor(spec.mean or config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std or config["std"]).view(3, 1, 1), persistent=False)
        self._timm_sides: tuple[int, int] = config["input_size"][-2:]
        with self._trial([spec, *beside]):
            for each in (spec, *beside):
                check_site(name, self.model, each, trial_picture(self.input_size))
        pairs = self._foldable([spec, *beside])
        keep_statistics(pairs)
        fold(self.model, pairs)
        self._set_output()
        self._layout = lay_channels_last(self.model)

    def forward(self, canvas: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Patch tokens of pictures.

        Args:
            canvas: (batch, 3, height, width), RGB, float 0..1. Resized to `input_size` when it differs.
            grid: (rows, cols) to resample the tokens to, bilinear with antialiasing; the backbone's own by default.

        Returns:
            (batch, rows * cols, width), row by row, in the backbone's own units.
        """
        if self.compute_dtype == torch.float32:  # in whatever the caller's autocast says
            return as_tokens(self._features(self._normalized(canvas)), grid)
        with torch.autocast(self.mean.device.type, self.compute_dtype):
            features = self._features(self._normalized(canvas)).float()
        return as_tokens(features, grid)

    def logits(self, canvas: Tensor) -> Tensor:
        """What the model's own classifier says of pictures (batch, 3, height, width): (batch, classes).

        Raises:
            ValueError: for a backbone whose spec keeps no classifier.
        """
        self.check_classifier()
        logits: Tensor = self.model(self._normalized(canvas))
        return logits

    def check_classifier(self) -> None:
        """Refuse a backbone whose spec keeps no classifier."""
        if self.spec.classes == 0:
            raise UsageError(f"{without_classifier(self.name)} to the number of its classes")

    def embedding(self, canvas: Tensor) -> Tensor:
        """What the whole model makes of pictures (batch, 3, height, width) before its classifier: (batch, features)."""
        features = self.model.forward_features(self._normalized(canvas))  # type: ignore[operator]  # timm's own methods
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)

    def whole_pass(self, canvas: Tensor) -> Tensor:
        """What the network gives at its end, of pictures (batch, 3, height, width): (batch, ...)."""
        return self.embedding(canvas)

    def tokens_and_logits(self, canvas: Tensor, grid: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """What `forward` and `logits` say of pictures, in one pass through the network where timm's parts allow it.

        Raises:
            ValueError: for a backbone whose spec keeps no classifier.
        """
        self.check_classifier()
        if not self._in_one_pass:
            return self(canvas, grid), self.logits(canvas)
        features, logits = self._features_and_logits(self._normalized(canvas))
        return as_tokens(features, grid), logits

    @with_torch_defaults
    @torch.no_grad()
    def record(self) -> WeightsRecord:
        """What tells these weights from others: their hash, and tokens of a test picture in float32."""
        picture = trial_picture(self.input_size).to(self.mean.device)
        tokens = as_tokens(self._features(self._normalized(picture)), None)
        return WeightsRecord(sha256=self._weights_hash, tokens=sample_tokens(tokens[0]))

    @with_torch_defaults
    @torch.no_grad()
    def notes(self) -> list[str]:
        """A sentence for each way in which it is read differently than its spec suggests; takes two passes."""
        from usae_train.backbones.folding import PassRecorder
        from usae_train.backbones.timm_models import data_config

        picture = self._normalized(trial_picture(self.input_size).to(self.mean.device))
        with PassRecorder(self.model) as reading:
            read = self._features(picture)
        return [
            *not_square_warning(self.spec, data_config(self.model)["input_size"][-2:]),
            *unused_norm_warning(self.model, self.spec, self._norm, reading.unused),
            *not_last_warning(self.model, self.spec, read, picture),
        ]

    def read_as(self, name: str, spec: BackboneSpec) -> Backbone:
        """The same network, read as one of the specs says that it was built beside."""
        other = self.with_name(name)
        other.spec = spec
        other._set_output()
        return other

    def shares_pass(self, other: Backbone) -> bool:
        """Whether it and another are one network that reads its layers in one pass."""
        same_network = other.model is self.model and other.spec.network == self.spec.network
        return same_network and other.compute_dtype == self.compute_dtype

    def forward_together(
        self, others: Sequence[Backbone], canvas: Tensor, grid: tuple[int, int] | None
    ) -> list[Tensor]:
        """What `forward` gives of each of others, which are this one's network and compute in the same, in one pass."""
        half = self.compute_dtype != torch.float32
        with torch.autocast(self.mean.device.type, self.compute_dtype) if half else nullcontext():
            specs = [each.spec for each in others]
            features = read_sites(self.model, specs, self._norm, self._normalized(canvas))
        return [as_tokens(each.float() if half else each, grid) for each in features]

    def with_name(self, name: str) -> Backbone:
        """The same backbone, to the last tensor, by another name."""
        same = copy.copy(self)
        same.name = name
        return same

    also, together, called = FormerName("read_as"), FormerName("forward_together"), FormerName("with_name")

    def _normalized(self, canvas: Tensor) -> Tensor:
        """Canvases at the model's own input size, mean and std."""
        if not isinstance(canvas, Tensor):
            canvas = canvases_of(canvas, "canvases").to(self.mean.device)
        if canvas.ndim != 4 or canvas.shape[1] != 3:
            raise UsageError(f"{self.name}: canvas has shape {tuple(canvas.shape)}; expected (batch, 3, height, width)")
        # On the CPU torch's fused attention goes backward slowly: 20 of 33 ms per block of the demo's ViT, and 1.50 s
        # instead of 1.24 s forward and backward through a ViT-B/16 in bfloat16 (6 crops of 224 px, 2 cores). Forward
        # alone it is faster: 82 instead of 92 ms per picture through 9 blocks of a ViT-S/14 (224 px, one thread).
        fused = canvas.device.type != "cpu" or not torch.is_grad_enabled()
        for attention in self._attentions:
            attention.fused_attn = fused  # type: ignore[assignment]  # timm's own switch
        side = (self.input_size, self.input_size)
        if canvas.shape[-2:] != side:
            canvas = functional.interpolate(canvas, side, mode="bilinear", antialias=True, align_corners=False)
        return ((canvas - self.mean) / self.std).contiguous(memory_format=self._layout)

    @cached_property
    def n_norms(self) -> int:
        """How many batch norms say what natural features are, see `statistics_distances`."""
        side = self.input_size
        with torch.no_grad(), statistics_distances(self.model, 1, 3 * side**2) as distances:
            zeros = torch.zeros(1, 3, side, side, device=self.mean.device)
            self.model(zeros) if self.spec.classes else self(zeros)
        return len(distances)

    @contextmanager
    def _trial(self, specs: Sequence[BackboneSpec]) -> Iterator[None]:
        """For the first passes of the network, and nothing else: what it raises in them becomes one line.

        Raises:
            UsageError: then, with the places that were to be read, the input size and timm's own.
        """
        try:
            yield
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError) as error:  # as networks do
            places = " and ".join(spec.place for spec in specs)
            side = "x".join(map(str, self._timm_sides))
            raise UsageError(
                f"{self.name}: {self.spec.model!r} cannot be read at {places} and {self.input_size} px: "
                f"{first_line(error)}; its own `input_size` is {side}"
            ) from error

    @torch.no_grad()
    def _foldable(self, specs: Sequence[BackboneSpec]) -> list[Pair]:
        """Batch norms that can be put into the convolutions: a pass shows that it changes nothing of what specs read.

        Not those that the classifier sees otherwise than the layers that are read. What a folded norm knows of natural
        features is kept; one that stands by itself knows it still (`norms_with_statistics`).
        """
        from usae_train.backbones.folding import PassRecorder

        zeros = torch.zeros(1, 3, self.input_size, self.input_size)
        with PassRecorder(self.model) as reading, self._trial(specs):
            features = self._first_features(specs, zeros)
        first, *further = (reading.pairs(layer) for layer in features)
        pairs = [pair for pair in first if all(pair in pairs_there for pairs_there in further)]
        if not self.spec.classes:
            return pairs
        with PassRecorder(self.model) as classifying, self._trial(specs):
            logits = self.model(zeros)
        of_logits = classifying.pairs(logits)
        return [pair for pair in of_logits if pair in pairs or not reading.ran(pair.convolution)]

    @torch.no_grad()
    def _set_output(self) -> None:
        """Width and grid of what its spec reads, and whether logits come from the same pass."""
        zeros = torch.zeros(1, 3, self.input_size, self.input_size)
        features = self._features(zeros)
        self.width: int = features.shape[1]
        self.grid: tuple[int, int] = (features.shape[2], features.shape[3])
        self._in_one_pass = False
        if self.spec.classes and self.spec.site == "block":
            # a few models' last layer is not what their head takes, and some have a head of another kind
            with self._trial([self.spec]):
                joint = self._features_and_logits(zeros)
            self._in_one_pass = torch.allclose(joint[0], features) and torch.allclose(joint[1], self.model(zeros))

    def _first_features(self, specs: Sequence[BackboneSpec], normalized: Tensor) -> list[Tensor]:
        """What specs read; without a norm from now on where the model refuses to apply one."""
        try:
            return read_sites(self.model, specs, self._norm, normalized)
        except AssertionError:  # how timm's say so; of a wrong size they say it again
            if not self._norm:
                raise
            self._norm = False
            return read_sites(self.model, specs, self._norm, normalized)

    def _features(self, normalized: Tensor) -> Tensor:
        return read_sites(self.model, [self.spec], self._norm, normalized)[0]

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


def listed_specs(specs: Mapping[str, BackboneSpec]) -> list[list[Any]]:
    """Names and specs, ready for JSON, in their order: it decides what is drawn when."""
    return [[name, spec.model_dump(mode="json")] for name, spec in specs.items()]


def build_backbones(specs: Mapping[str, BackboneSpec | Backbone], warn: bool = True) -> dict[str, Backbone]:
    """Build every backbone of a set of specs, in their order.

    Args:
        specs: by the backbones' names; one that is built already stays as it is.
        warn: whether to warn (`UnexpectedReadingWarning`) where one is read differently than its spec suggests.

    Raises:
        ValueError: for a name that none can have, or a spec that cannot be built.
    """
    for name in specs:  # before anything is fetched, and hours of extraction
        check_name(name)
    networks: dict[str, Backbone] = {}  # one each, whatever reads it
    built = {}
    for name, spec in specs.items():
        if isinstance(spec, Backbone):
            built[name] = spec.with_name(name)
        elif spec.network in networks:
            built[name] = networks[spec.network].read_as(name, spec)
        else:
            same = [each for each in specs.values() if isinstance(each, BackboneSpec) and each.network == spec.network]
            built[name] = networks[spec.network] = Backbone(name, spec, [each for each in same if each != spec])
    for name, backbone in built.items():
        for note in backbone.notes() if warn else ():
            warnings.warn(f"{name}: {note}", UnexpectedReadingWarning, stacklevel=2)
    return built


def set_compute_dtype(backbones: Iterable[Backbone], dtype: str) -> None:
    """Let backbones compute in `float32` or `bfloat16`; `auto` is bfloat16 on a GPU and float32 elsewhere.

    Raises:
        ValueError: for another name.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r}: expected {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
    for backbone in backbones:
        half = dtype == "bfloat16" or (dtype == "auto" and backbone.mean.device.type != "cpu")
        backbone.compute_dtype = torch.bfloat16 if half else torch.float32
