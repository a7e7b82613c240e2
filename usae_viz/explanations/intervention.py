"""What a backbone answers to a photograph before and after an edit, and which photographs are nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.files.whole_numbers import at_least
from usae_train.images.sources import ImageSource, none_can_be_read, read_batches
from usae_train.interventions.edits import EditValue, read_edit
from usae_train.interventions.importance import find_answering_site
from usae_train.interventions.intervene import find_site, intervene
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.explanations.concept_maps import ConceptMaps
from usae_viz.explanations.photograph import Photograph, open_photograph
from usae_viz.explanations.settings import InterveneSettings
from usae_viz.objectives.class_names import class_in_words

if TYPE_CHECKING:
    from usae_viz.explanations.photograph import Photo
    from usae_viz.explanations.photograph_concepts import ClassAnswer

GALLERY_BATCH = 16


@dataclass(frozen=True)
class ClassChange:
    """A class's probability and logit before and after."""

    class_: int
    name: str
    probability: tuple[float, float]
    logit: tuple[float, float]


@dataclass(frozen=True)
class Neighbour:
    """A photograph near in the backbone's final embedding."""

    number: int
    label: str
    cosine: float


@dataclass(frozen=True)
class Gallery:
    """Photographs as one backbone sees them, without an edit."""

    source: ImageSource
    numbers: list[int]  # of those that can be read
    embeddings: Tensor  # (photographs, features), unit norm


@with_torch_defaults
@torch.no_grad()
def gallery_of(
    usae: USAE,
    backbone: str,
    source: ImageSource,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> Gallery:
    """The final embeddings of a source's photographs through a backbone.

    Progress is called with the photographs done and how many there are; `failure` with why one cannot be read.

    Raises:
        ValueError: when none of them can be read.
    """
    network = usae.backbones[usae.check_backbone(backbone)]
    numbers, embeddings, failures = list[int](), list[Tensor](), list[str]()
    for indices, canvases, broken in read_batches(source, network.input_size, GALLERY_BATCH):
        for each in broken:
            failures.append(each.why)
            failure(each.why)
        if indices:
            embeddings.append(network.embedding(canvases.to(usae.device)))
        numbers += indices
        progress(len(numbers) + len(failures), len(source))
    if not embeddings:
        raise none_can_be_read(len(source), source, failures[0])
    return Gallery(source, numbers, functional.normalize(torch.cat(embeddings), dim=-1))


@dataclass(frozen=True)
class Intervention:
    """One edit of one backbone's view of a photograph."""

    backbone: str
    photograph: Photograph
    edits: Mapping[int, EditValue]
    maps: ConceptMaps  # before
    classes: list[ClassChange]  # the most probable ones before or after; empty without a classifier
    cosine: float  # of the final embeddings before and after
    neighbours: tuple[list[Neighbour], list[Neighbour]] | None  # before, after
    among: int | None = None  # photographs that they were found among: those that can be read

    @property
    def idle(self) -> list[int]:
        """The edited concepts that have no code in the photograph, and that their edit gives none."""
        peaks = self.maps.peaks
        return [k for k, edit in self.edits.items() if not peaks[k] and not read_edit(k, edit).shift]

    def as_dict(self) -> dict[str, Any]:
        """What intervene.json holds of it."""
        near = self.neighbours
        return {
            "backbone": self.backbone,
            "photograph": self.photograph.name,
            "edits": {str(concept): edit for concept, edit in self.edits.items()},
            "classes": [as_json(each) for each in self.classes],
            "embedding_cosine": self.cosine,
            "neighbours": None if near is None else [[vars(each) for each in neighbours] for neighbours in near],
            "among": self.among,
        }


@with_torch_defaults
@torch.no_grad()
def intervention_in(
    usae: USAE,
    backbone: str,
    photo: Photo,
    edits: Mapping[int, EditValue],
    top: int = InterveneSettings().top,
    among: Gallery | None = None,
) -> Intervention:
    """Edit concepts in one backbone, as `usae_train.intervene` does; what changes in its answer to a photograph.

    `top` counts classes before and after, and neighbours: a gallery's photographs nearest by the cosine of the final
    embedding.

    Raises:
        ValueError: for a photograph that cannot be read, invalid edits, or a layer whose edits change no answer.
    """
    at_least(1, top, "top")
    photograph = open_photograph(photo)
    has_classes = usae.specs[usae.check_backbone(backbone)].classes > 0 if usae.specs else False
    network, _ = (find_answering_site if has_classes else find_site)(usae, backbone)
    canvas = photograph.canvas(network.input_size).to(usae.device)
    codes = usae.encode(backbone, network(canvas)[0])
    plain = network.embedding(canvas)
    logits = [network.logits(canvas)[0]] if has_classes else []
    with intervene(usae, backbone, edits):
        edited_embedding = network.embedding(canvas)
        logits += [network.logits(canvas)[0]] if has_classes else []
    if not all(bool(values.isfinite().all()) for values in (edited_embedding, *logits)):
        raise UsageError(
            f"{backbone} answers with numbers that are not finite once concepts {', '.join(map(str, edits))} are "
            "edited; edit them by less"
        )
    return Intervention(
        backbone,
        photograph,
        dict(edits),
        ConceptMaps.from_codes(codes, network.grid, usae.n_concepts),
        _classes(torch.stack(logits), top) if has_classes else [],
        functional.cosine_similarity(plain, edited_embedding).item(),
        None if among is None else _nearest(torch.cat([plain, edited_embedding]), among, top),
        None if among is None else len(among.numbers),
    )


def as_json(answer: ClassChange | ClassAnswer) -> dict[str, Any]:
    """What a classifier says, for a record: `class_`, whose name is Python's own word, is `class`."""
    return {key.removesuffix("_"): value for key, value in vars(answer).items()}


def _classes(logits: Tensor, top: int) -> list[ClassChange]:
    """The most probable classes of either, (2, classes), the most probable before first."""
    likely = logits.softmax(-1)
    classes = dict.fromkeys(likely.topk(min(top, likely.shape[1])).indices.flatten().tolist())
    rows = [
        ClassChange(k, class_in_words(logits.shape[1], k), _pair(likely[:, k]), _pair(logits[:, k])) for k in classes
    ]
    return sorted(rows, key=lambda each: -each.probability[0])


def _pair(values: Tensor) -> tuple[float, float]:
    before, after = values.tolist()
    return before, after


def _nearest(embeddings: Tensor, among: Gallery, top: int) -> tuple[list[Neighbour], list[Neighbour]]:
    """The nearest photographs to each of two embeddings (2, features)."""
    cosines = functional.normalize(embeddings, dim=-1) @ among.embeddings.mT
    near = cosines.topk(min(top, len(among.numbers)))
    before, after = (
        [
            Neighbour(among.numbers[at], among.source.label(among.numbers[at]), value)
            for value, at in zip(*row, strict=True)
        ]
        for row in zip(near.values.tolist(), near.indices.tolist(), strict=True)
    )
    return before, after
