"""The universal sparse autoencoder: an encoder and a dictionary per backbone around one concept space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.backbones.names import check_backbone_name, check_name
from usae_train.images.arrays import canvases_of
from usae_train.images.source_record import SourceRecord
from usae_train.model.private import PrivateConcepts, close_foreign
from usae_train.model.scale import Standardization
from usae_train.model.sparse import Codes, sparse_decode
from usae_train.model.sparsity.topk import TopK
from usae_train.model.sparsity.variant import Sparsity
from usae_train.model.top_maps import TopMaps, read_maps
from usae_train.model.usae_folder import read_folder, upload_folder, write_folder
from usae_train.model.usae_text import usae_html, usae_lines
from usae_train.runtime.arrays import Array, floats_of
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import use_torch_defaults, with_default_dtype, with_torch_defaults
from usae_train.runtime.transfers import to_device
from usae_train.runtime.warning_kinds import FormerName

if TYPE_CHECKING:
    from pathlib import Path

    from usae_train.backbones.backbone import Backbone
    from usae_train.backbones.identity import WeightsRecord
    from usae_train.backbones.spec import BackboneSpec
    from usae_train.model.natural import NaturalPictures
    from usae_train.model.statistics import Statistics
    from usae_train.tokens.standardization import Outliers

IMPORTED = "imported from"  # how the recipe of an autoencoder of another library begins


class Readout(NamedTuple):
    """Some concepts' pre-codes as one affine map of a backbone's raw tokens: tokens @ weight.T + bias."""

    weight: Tensor  # (concepts, width)
    bias: Tensor  # (concepts,)

    def __call__(self, tokens: Tensor) -> Tensor:
        """(..., width) -> (..., concepts)."""
        return functional.linear(tokens, self.weight, self.bias)


class USAE(nn.Module):
    """One sparse concept space for several backbones (Thasarathan et al. 2025, arXiv 2502.03714, section 3).

    Args:
        widths: {backbone: width of its tokens}.
        n_concepts: size of the space.
        k: concepts kept per token; where the sparsity has no fixed number, the mean or the maximum.
        batch_norm: BatchNorm between encoder and ReLU, as in the authors' code.
        specs: {backbone: spec}, when the tokens came from backbones.
        grid: (rows, cols) that tokens are resampled to, when they came from backbones.
        recipe: name of the training recipe, for the record.
        sparsity: which concepts are active; the k largest by default.
        unit_norm: decode with rows of norm 1, as the authors' code; False decodes with the rows as they are, as our
            default recipe and autoencoders of other libraries do: a concept that only one backbone knows can be short
            in the others, where an atom of norm 1 would have to mean something.
        private: {backbone: its private concepts}, the last of the space (see `PrivateConcepts`): no other encoder
            fires them, and they add nothing to what others decode. None by default.

    Raises:
        ValueError: for no backbone, an invalid name, k outside 1..n_concepts, or impossible private concepts.
    """

    @with_torch_defaults
    def __init__(
        self,
        widths: Mapping[str, int],
        n_concepts: int,
        k: int,
        *,
        batch_norm: bool = False,
        specs: Mapping[str, BackboneSpec] | None = None,
        grid: tuple[int, int] | None = None,
        recipe: str = "",
        sparsity: Sparsity | None = None,
        unit_norm: bool = True,
        private: Mapping[str, range] | None = None,
    ) -> None:
        super().__init__()
        if not widths:
            raise UsageError("a USAE needs at least one backbone; got none")
        for name in widths:
            check_name(name)
        if not 1 <= k <= n_concepts:
            raise UsageError(f"k is {k}; expected 1 <= k <= n_concepts = {n_concepts}")
        self.private = PrivateConcepts(list(widths), n_concepts, dict(private or {}))
        self.widths, self.n_concepts, self.k = dict(widths), n_concepts, k
        self.batch_norm, self.recipe = batch_norm, recipe
        self.specs, self.grid = dict(specs or {}), grid
        self.sparsity, self.unit_norm = sparsity or TopK(), unit_norm
        self.sparsity.check_sizes(k, self.private)
        self.statistics: Statistics | None = None
        self.natural: NaturalPictures | None = None  # shown instead of the statistics' top-activating patches
        self.maps_file: Path | None = None  # has where concepts fire in the top pictures of the statistics
        self._maps: TopMaps | None = None
        self.source: str | None = None  # the id or folder it was loaded from, and the hash of its weights
        self.sha256: str | None = None
        self.labels_file: Path | None = None  # names of its concepts, where its folder has some
        self.agreement: Tensor | None = None  # (n_concepts,), of a consensus: the share of trainings that have each
        self.measured_on = SourceRecord()  # the images of the statistics
        self.outliers: dict[str, Outliers] = {}  # high-norm tokens, as standardization found them
        self.factors: list[str] = []  # "colour: red", ... where the truth is known; the rows of statistics.auroc
        self.weights: dict[str, WeightsRecord] = {}  # of the backbones that it was trained with, where they are known
        self.modules_given: dict[str, Backbone] = {}  # those that no spec can build: `ModuleBackbone`s
        self._backbones: dict[str, Backbone] = {}
        self.encoders = nn.ModuleDict({n: Encoder(w, n_concepts, batch_norm) for n, w in widths.items()})
        self.dictionaries = nn.ModuleDict({n: Dictionary(w, n_concepts, unit_norm) for n, w in widths.items()})
        self.scales = nn.ModuleDict({n: Standardization() for n in widths})
        threshold = self.sparsity.threshold_shape(n_concepts)
        self.thresholds = nn.ParameterDict({} if threshold is None else {n: torch.zeros(threshold) for n in widths})
        close_foreign(self)

    def __repr__(self) -> str:
        return "\n".join(usae_lines(self))

    def _repr_html_(self) -> str:
        return usae_html(self)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a USAE folder; the hub's name for `usae_train.save`."""
        write_folder(self, folder)

    @classmethod
    def from_pretrained(cls, usae: str | Path, device: torch.device | str = "cpu") -> USAE:
        """Load an id of ours, a folder or a hub id; the hub's name for `usae_train.load`."""
        return read_folder(cls, usae, device)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload to the Hugging Face hub as `user/name`; returns the commit's address. See `upload_folder`."""
        return upload_folder(self, repository, private=private, token=token)

    @property
    def names(self) -> list[str]:
        """The backbones' names, in order."""
        return list(self.widths)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.encoder(self.names[0]).linear.weight.device

    @property
    def maps(self) -> TopMaps | None:
        """Where its concepts fire in the top pictures of its statistics, where that is saved; read at first use.

        Raises:
            ValueError: for a file that is broken.
        """
        if self._maps is None and self.maps_file is not None and self.grid is not None:
            rows, cols = self.grid
            of_these = self.sha256, self.measured_on.fingerprint
            self._maps = read_maps(self.maps_file, *of_these, len(self.names), self.n_concepts, rows * cols)
        return self._maps

    @maps.setter
    def maps(self, maps: TopMaps | None) -> None:
        self._maps, self.maps_file = maps, None

    @property
    def input_size(self) -> int:
        """The largest input size of its backbones, px: canvases of this size serve all of them."""
        from usae_train.backbones.common_sizes import largest_input

        return largest_input(self.backbones)

    def encoder(self, name: str) -> Encoder:
        """A backbone's encoder: standardized tokens -> pre-codes."""
        encoder = self.encoders[self.check_backbone(name)]
        assert isinstance(encoder, Encoder)
        return encoder

    def decoder(self, name: str) -> Dictionary:
        """A backbone's dictionary as a module: codes -> standardized tokens."""
        dictionary = self.dictionaries[self.check_backbone(name)]
        assert isinstance(dictionary, Dictionary)
        return dictionary

    def scale(self, name: str) -> Standardization:
        """A backbone's standardization."""
        scale = self.scales[self.check_backbone(name)]
        assert isinstance(scale, Standardization)
        return scale

    @property
    def backbones(self) -> dict[str, Backbone]:
        """{name: Backbone}, built from their specs when first asked for, on the USAE's device.

        Raises:
            ValueError: for a USAE fitted on bare activations, or when weights are missing, or not those that it was
                trained with.
        """
        from usae_train.backbones.backbone import build_backbones
        from usae_train.backbones.identity import check_records

        if not self.specs:
            raise UsageError("this USAE was fitted on bare activations: it has no backbones to see pictures with")
        if not self._backbones:
            with use_torch_defaults():
                built = build_backbones(
                    {**self.specs, **self.modules_given}, warn=False
                )  # their user was warned before
                if self.weights:
                    records = {name: backbone.record() for name, backbone in built.items()}
                    check_records(records, self.weights, {name: spec.remedy() for name, spec in self.specs.items()})
            self._backbones = built
        device = self.device
        # `to` takes 6 ms per backbone to find that nothing has to be moved
        return {name: b if b.mean.device == device else b.to(device) for name, b in self._backbones.items()}

    def standardize(self, name: str, tokens: Array) -> Tensor:
        """Raw tokens (..., width) -> what its encoder takes; see `Standardization`."""
        tokens = floats_of(tokens, f"{name}: tokens", self.scale(name).mean.device)
        if tokens.shape[-1:] != (self.widths[self.check_backbone(name)],):
            raise UsageError(f"{name}: tokens have shape {tuple(tokens.shape)}; expected (..., {self.widths[name]})")
        standardized: Tensor = self.scale(name)(tokens)
        return standardized

    @with_default_dtype
    def pre_codes(self, name: str, tokens: Array) -> Tensor:
        """Concepts' values before ReLU and TopK: raw tokens (..., width) -> (..., n_concepts)."""
        pre_codes: Tensor = self.encoder(name)(self.standardize(name, tokens))
        return pre_codes

    @with_default_dtype
    def encode(self, name: str, tokens: Array) -> Codes:
        """Raw tokens (..., width), a tensor or a NumPy array -> Codes(values, indices), each (..., k).

        Where the sparsity has no fixed number, k is the largest number of any of these tokens.
        """
        return self.sparsify(name, self.pre_codes(name, tokens))

    def sparsify(self, name: str, pre_codes: Tensor) -> Codes:
        """A backbone's pre-codes (..., n_concepts) -> Codes(values, indices), as `encode` makes them."""
        return self.sparsity.codes(pre_codes, self.k, self.threshold(name))

    def threshold(self, name: str) -> Tensor | None:
        """What a backbone's pre-codes must exceed, of the shape that the sparsity says; None where it has none."""
        return self.thresholds[name] if self.check_backbone(name) in self.thresholds else None

    @with_default_dtype
    def decode(self, name: str, codes: Codes) -> Tensor:
        """Codes of any backbone -> tokens (..., width) of this one, in its own units."""
        return self.scale(name).inverse(self.decoder(name)(codes))

    @with_default_dtype
    def dictionary(self, name: str) -> Tensor:
        """A backbone's unit-norm atoms, (n_concepts, width): only directions; codes are decoded with `rows`."""
        return self.decoder(name).atoms

    @property
    @torch.no_grad()
    def lengths(self) -> Tensor:
        """(backbones, n_concepts), the length of what a code of 1 adds; 1 with `unit_norm`."""
        if self.unit_norm:
            return torch.ones(len(self.names), self.n_concepts)
        return torch.stack([self.decoder(name).weight.norm(dim=1).cpu() for name in self.names])

    @with_default_dtype
    def rows(self, name: str) -> Tensor:
        """What a backbone decodes with, (n_concepts, width): its atoms, or without `unit_norm` its weight rows."""
        return self.decoder(name).rows

    @with_default_dtype
    def readout(self, name: str, concepts: Tensor | list[int]) -> Readout:
        """Standardization, Linear and BatchNorm (in evaluation) of some concepts, folded to one affine map.

        Args:
            name: a backbone.
            concepts: (concepts,) indices.
        """
        encoder, scale = self.encoder(name), self.scale(name)
        weight, bias = encoder.folded(to_device(torch.as_tensor(concepts), encoder.linear.weight.device))
        return Readout(*scale.folded(weight, bias))

    @with_default_dtype
    def tokens(self, name: str, canvas: Array) -> Tensor:
        """What a backbone sees in canvases (batch, 3, H, W): tokens (batch, rows * cols, width) on the common grid."""
        backbone = self.backbones[self.check_backbone(name)]
        tokens: Tensor = backbone(canvases_of(canvas, "canvases").to(backbone.mean.device), self.grid)
        return tokens

    def check_backbone(self, name: str) -> str:
        """The name itself.

        Raises:
            ValueError: when no backbone has that name; lists the USAE's.
        """
        return check_backbone_name(self.widths, name)

    known_name = FormerName("check_backbone")


def check_usae(usae: object) -> None:
    """Refuse what is not a USAE, such as its name."""
    if not isinstance(usae, USAE):
        raise UsageError(f"usae is {usae!r}; expected a USAE, such as usae_train.load('demo') gives")


class Encoder(nn.Module):
    """Standardized tokens (..., width) -> pre-codes (..., n_concepts): Linear, and BatchNorm where asked for."""

    def __init__(self, width: int, n_concepts: int, batch_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, n_concepts)
        self.norm = nn.BatchNorm1d(n_concepts) if batch_norm else None

    def forward(self, tokens: Tensor) -> Tensor:
        pre_codes: Tensor = self.linear(tokens)
        if self.norm is None:
            return pre_codes
        normed: Tensor = self.norm(pre_codes.reshape(-1, pre_codes.shape[-1]))
        return normed.view(pre_codes.shape)

    def folded(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (chosen, width) and bias (chosen,) of some concepts (chosen,) in evaluation mode."""
        weight, bias = self.linear.weight[chosen], self.linear.bias[chosen]
        if self.norm is None:
            return weight, bias
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        gain = self.norm.weight[chosen] / (self.norm.running_var[chosen] + self.norm.eps).sqrt()
        return weight * gain[:, None], (bias - self.norm.running_mean[chosen]) * gain + self.norm.bias[chosen]


class Dictionary(nn.Module):
    """Codes -> standardized tokens: a row per concept, and an offset (zero in the published recipe).

    With `unit_norm` rows are divided by their l2 norm.
    """

    def __init__(self, width: int, n_concepts: int, unit_norm: bool = True) -> None:
        super().__init__()
        self.unit_norm = unit_norm
        self.weight = nn.Parameter(functional.normalize(torch.randn(n_concepts, width), dim=-1))
        self.offset = nn.Parameter(torch.zeros(width))

    @property
    def atoms(self) -> Tensor:
        """(n_concepts, width), unit norm."""
        return functional.normalize(self.weight, dim=-1)

    @property
    def rows(self) -> Tensor:
        """(n_concepts, width): what codes are decoded with."""
        return self.atoms if self.unit_norm else self.weight

    def forward(self, codes: Codes) -> Tensor:
        return sparse_decode(codes, self.rows) + self.offset

    @property
    def changed(self) -> list[nn.Parameter]:
        """The parameters behind the rows, one entry per row: the weight, or what a variant makes it from."""
        return [parameter for key, parameter in self.named_parameters() if key != "offset"]

    @torch.no_grad()
    def project(self) -> None:
        """Divide the rows of the weight by their norm, in place."""
        self.weight.div_(self.weight.norm(dim=1, keepdim=True) + 1e-8)  # as overcomplete's dictionary layer
