"""An embedding network outside the USAE, and whether it finds what a concept fires on alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.spec import BackboneSpec
from usae_train.evaluation.report_form import ByName, MonosemanticityFigures
from usae_train.model.spec_files import BACKBONE_PRESETS, read_specs
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults

OWN_PREFIX = "own:"  # before the name of one of the space's backbones
CONCEPT_CHUNK_SIZE = 256  # concepts whose weighted sums of embeddings are computed at a time


class Judge:
    """A backbone that embeds whole pictures.

    By the whole network's output before the classifier; where its spec reads a layer before the last, by the mean of
    that layer's patch tokens.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.width = self.embed(torch.zeros(1, 3, backbone.input_size, backbone.input_size)).shape[1]

    @property
    def final(self) -> bool:
        """Whether the whole network is used."""
        return self.backbone.spec.layer == -1 and self.backbone.spec.site == "block"

    @with_torch_defaults
    @torch.no_grad()
    def embed(self, canvases: Tensor) -> Tensor:
        """Unit embeddings (pictures, width) of canvases (pictures, 3, H, W)."""
        shown = canvases.to(self.backbone.mean.device)
        embedded = self.backbone.embedding(shown) if self.final else self.backbone(shown).mean(1)
        return functional.normalize(embedded.float(), dim=-1)

    @property
    def sha256(self) -> str:
        """A hash of its weights, and what is read from them."""
        read = self.backbone.spec.place.removeprefix("layer ")
        return f"{self.backbone.record().sha256}/{read}/{self.backbone.input_size}"

    def record(self) -> dict[str, str | int]:
        """Its entry in the report."""
        read = "final embedding" if self.final else f"mean patch token of {self.backbone.spec.place}"
        return {
            "name": self.backbone.name,
            "model": self.backbone.spec.model,
            "read": read,
            "width": self.width,
            "weights_sha256": self.backbone.record().sha256,
        }


def open_judge(text: str, usae: USAE) -> Judge:
    """The judge that `--judge` names.

    Args:
        text: a timm id, a YAML of specs with one backbone, or of several with a colon and a name (`specs.yaml:dino`,
            `demo:dino`); `own:NAME` is one of the space's own backbones.
        usae: the USAE to judge.

    Raises:
        ValueError: for what cannot be read, names several, or is one of the USAE's own without `own:`.
    """
    if text.startswith(OWN_PREFIX):
        return Judge(usae.backbones[usae.check_backbone(text.removeprefix(OWN_PREFIX))])
    name, spec = judge_spec(text)
    backbone = Backbone(name, spec).to(usae.device)
    for own_name, own_backbone in usae.backbones.items():
        if same_network(backbone, own_backbone):
            raise UsageError(
                f"--judge {text} is this USAE's own backbone {own_name}, which would judge itself; name a network that "
                f"took no part, or write {OWN_PREFIX}{own_name} if you mean it"
            )
    return Judge(backbone)


def same_network(backbone: Backbone, other: Backbone) -> bool:
    """Whether most weights of two backbones are the same, whatever layer each is read at and with or without a head."""
    weights, others = dict(backbone.model.named_parameters()), dict(other.model.named_parameters())
    matrices = [name for name, each in weights.items() if each.ndim > 1]
    same = [name for name in matrices if name in others and torch.equal(weights[name], others[name])]
    return len(same) > len(matrices) / 2


def judge_spec(text: str) -> tuple[str, BackboneSpec]:
    """The name and spec of the one backbone that a text names; as in `open_judge`."""
    place, colon, backbone = text.rpartition(":")
    several = colon and (place in BACKBONE_PRESETS or place.endswith((".yaml", ".yml")))
    specs = read_specs(place if several else text)
    if several and backbone not in specs:
        raise UsageError(f"--judge {text}: {place} has no backbone {backbone!r}; it has {', '.join(specs)}")
    if not several and len(specs) > 1:
        raise UsageError(f"--judge {text} is {len(specs)} backbones; say which: {text}:{next(iter(specs))}")
    name = backbone if several else next(iter(specs))
    return name, specs[name]


def monosemanticity(peaks: Tensor, embeddings: Tensor) -> Tensor:
    """How alike the pictures are that each concept fires on: the mean cosine of all pairs, weighted by both peaks.

    MS_k = (|sum_i a_i e_i|^2 - sum_i a_i^2) / ((sum_i a_i)^2 - sum_i a_i^2), as of Pach et al. 2025 (arXiv 2504.02821)
    with a concept's peak codes as they are.

    Args:
        peaks: (pictures, concepts), a >= 0.
        embeddings: (pictures, width), e, of unit norm.

    Returns:
        (concepts,), -1..1; NaN where fewer than two pictures have a code.
    """
    scores = []
    unit = functional.normalize(embeddings.double(), dim=-1)  # precisely: differences of sums can be small
    for chunk in peaks.split(CONCEPT_CHUNK_SIZE, 1):
        codes = chunk.double()
        squares = codes.square().sum(0)
        all_pairs = (codes.T @ unit).square().sum(1)
        pairs = codes.sum(0).square() - squares
        fires = (codes > 0).sum(0) >= 2
        scores.append(torch.where(fires, (all_pairs - squares) / torch.where(fires, pairs, 1.0), torch.nan))
    return torch.cat(scores)


def monosemanticity_figures(
    judge: Judge, embeddings: Tensor, peaks: Tensor, names: Sequence[str]
) -> MonosemanticityFigures:
    """The figures of monosemanticity for the report.

    Args:
        judge: which network embedded.
        embeddings: (pictures, width).
        peaks: (pictures, backbones, concepts).
        names: the backbones'.
    """
    scores = {name: monosemanticity(peaks[:, row].float(), embeddings) for row, name in enumerate(names)}
    chance = monosemanticity(torch.ones(len(embeddings), 1), embeddings)[0].item()
    return {
        "judge": judge.record(),
        "chance": chance,
        "backbones": {name: _summary(of_concepts, chance) for name, of_concepts in scores.items()},
        "concepts": {name: of_concepts.tolist() for name, of_concepts in scores.items()},
    }


def _summary(scores: Tensor, chance: float) -> ByName:
    defined = scores[~scores.isnan()]
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.double)
    low, middle, high = defined.quantile(levels).tolist() if len(defined) else [torch.nan] * 3
    return {
        "concepts": len(defined),
        "mean": defined.mean().item(),
        "tenth": low,
        "median": middle,
        "ninetieth": high,
        "above_chance": (defined > chance).double().mean().item(),
    }
