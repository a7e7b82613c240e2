"""Which concepts stand for a class of pictures, and which several share: judged in two halves that must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from usae_train.images.classes import NO_CLASS, ImageClasses
from usae_train.model.statistics import auroc
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

# All of these hold in each half, and in every backbone in which the concept fires. In the demo, whose truth is known,
# 88 of 91 names are right with these, 79 of 81 with an AUROC of 0.9, 107 of 110 with 0.8 and 126 of 135 with 0.75; of
# photographs of six classes 3, none, 9 and 25 concepts are named, with an AUROC on other photographs of at least 0.79,
# 0.76 and 0.51 (tests/benchmarks/named_concepts.py).
MIN_AUROC = 0.85  # AUROC of the peak codes, the class against all others
MIN_PAIR_AUROC = 0.8  # the same against each other class alone: a concept of two classes is not a name for one
MIN_STRONGEST_SHARE = 0.5  # share that the class has of as many strongest pictures as it has pictures
CANDIDATE_AUROC = 0.7  # AUROC below which a concept stands for no class, alone or with others
MAX_RIVALS = 8  # classes that a concept is compared with one by one
MIN_IMAGES = 4  # pictures of a class, two in each half


@dataclass(frozen=True)
class ClassConcept:
    """A concept, and the class or classes that it stands for in both halves."""

    concept: int
    classes: tuple[int, ...]  # a single one names it; several share it
    auroc: float  # the smallest over halves and backbones, of these classes against all others
    strongest: tuple[
        int, int
    ]  # how many of its strongest pictures are of these classes, of how many; the worst backbone's


@dataclass(frozen=True)
class ClassConcepts:
    """How concepts relate to classes."""

    classes: ImageClasses
    areas: Tensor  # (backbones, classes, concepts), AUROC over all pictures
    standing: list[ClassConcept]
    by_chance: int  # how many concepts would be named were classes assigned at random

    @property
    def named(self) -> list[ClassConcept]:
        """Those that stand for one class, the surest first."""
        return [each for each in self.standing if len(each.classes) == 1]

    @property
    def shared(self) -> list[ClassConcept]:
        """Those that several classes share."""
        return [each for each in self.standing if len(each.classes) > 1]


def check_counts(classes: ImageClasses, counts: Sequence[int]) -> None:
    """Refuse a class with too few pictures for two halves."""
    for name, count in zip(classes.names, counts, strict=True):
        if count < MIN_IMAGES:
            raise UsageError(
                f"class {name!r} has {plural(count, 'picture')} that can be read; names are tested on "
                f"two halves, which needs {MIN_IMAGES} per class: add some, or leave the class out"
            )


def class_concepts(peaks: Tensor, numbers: Tensor, classes: ImageClasses, seed: int = 0) -> ClassConcepts:
    """Compare every concept with every class.

    Args:
        peaks: (pictures, backbones, concepts), each picture's largest codes.
        numbers: (pictures,) their numbers in the source; those of no class, or one of fewer than 4, are left out.
        classes: of the source's pictures.
        seed: of the halves.
    """
    every = torch.tensor(classes.numbers)[numbers]
    counts = torch.bincount(every[every != NO_CLASS], minlength=len(classes.names))
    labelled = (every != NO_CLASS) & (counts[every.clamp_min(0)] >= MIN_IMAGES)
    labelled_peaks, class_of = peaks[labelled].float(), every[labelled]
    generator = torch.Generator().manual_seed(seed)
    standing = concepts_of(labelled_peaks, class_of, len(classes.names), generator)
    dealt = concepts_of(
        labelled_peaks, class_of[torch.randperm(len(class_of), generator=generator)], len(classes.names), generator
    )
    one_hot = torch.nn.functional.one_hot(class_of, len(classes.names)).bool()
    areas = torch.stack([auroc(labelled_peaks[:, row], one_hot) for row in range(labelled_peaks.shape[1])])
    return ClassConcepts(classes, areas, standing, sum(len(each.classes) == 1 for each in dealt))


def concepts_of(peaks: Tensor, class_of: Tensor, n_classes: int, generator: torch.Generator) -> list[ClassConcept]:
    """The concepts that stand for classes in both of two halves, the surest first.

    Args:
        peaks: (pictures, backbones, concepts).
        class_of: (pictures,) each one's class.
        n_classes: how many classes there are; those without pictures are skipped.
        generator: deals out the halves.
    """
    first = halves(class_of, generator)
    areas = [_smallest(peaks[half], class_of[half], n_classes) for half in (first, ~first)]
    standing = []
    for concept in (torch.minimum(*areas).amax(0) >= CANDIDATE_AUROC).nonzero().flatten().tolist():
        in_first, in_second = (
            _stands_for(peaks[half, :, concept], class_of[half], areas[n][:, concept])
            for n, half in enumerate((first, ~first))
        )
        if in_first is None or in_second is None or in_first[0] != in_second[0]:
            continue
        strongest = _strongest(peaks[:, :, concept], class_of, in_first[0])
        standing.append(ClassConcept(concept, in_first[0], min(in_first[1], in_second[1]), strongest))
    return sorted(standing, key=lambda each: (-each.auroc, each.concept))


def halves(class_of: Tensor, generator: torch.Generator) -> Tensor:
    """(pictures,) bool: a random half of each class, of (pictures,) classes; the larger one of an odd number."""
    first = torch.zeros(len(class_of), dtype=torch.bool)
    for number in class_of.unique().tolist():
        places = (class_of == number).nonzero().flatten()
        drawn = torch.randperm(len(places), generator=generator)[: (len(places) + 1) // 2]
        first[places[drawn]] = True
    return first


def _smallest(peaks: Tensor, class_of: Tensor, n_classes: int) -> Tensor:
    """(classes, concepts): AUROC against all other classes, the smallest of the backbones in which a concept fires."""
    truth = torch.nn.functional.one_hot(class_of, n_classes).bool()
    smallest = torch.full((n_classes, peaks.shape[2]), torch.inf)
    for row in range(peaks.shape[1]):
        fires = (peaks[:, row] > 0).any(0)
        area = auroc(peaks[:, row, fires], truth).nan_to_num(0.0)
        smallest[:, fires] = torch.minimum(smallest[:, fires], area)
    return smallest.nan_to_num(0.0, posinf=0.0)


def _stands_for(peaks: Tensor, class_of: Tensor, areas: Tensor) -> tuple[tuple[int, ...], float] | None:
    """The classes that a concept stands for in some pictures, in their order, and the AUROC of the least of them.

    Args:
        peaks: (pictures, backbones), its codes.
        class_of: (pictures,) classes.
        areas: (classes,) the smallest AUROC against all others.
    """
    order = areas.argsort(descending=True, stable=True)[:MAX_RIVALS].tolist()
    order = [number for number in order if (class_of == number).any()]
    fires = (peaks > 0).any(0)
    tables = [_pairwise(peaks[:, row], class_of, order) for row in fires.nonzero().flatten().tolist()]
    if not tables:
        return None
    sizes = torch.tensor([int((class_of == number).sum()) for number in order] + [0])
    sizes[-1] = len(class_of) - int(sizes.sum())
    alone = min(_against(table, sizes, 0, 1) for table in tables)
    apart = min(table[0, other].item() for table in tables for other in range(1, len(order)))
    if alone >= MIN_AUROC and apart >= MIN_PAIR_AUROC:
        return ((order[0],), alone) if _mostly(peaks[:, fires], class_of, (order[0],)) else None
    for size in range(min(len(order), MAX_RIVALS - 1), 1, -1):
        least = min(_against(table, sizes, place, size) for table in tables for place in range(size))
        members = tuple(sorted(order[:size]))
        if least >= MIN_AUROC and _mostly(peaks[:, fires], class_of, members):
            return members, least
    return None


def _pairwise(peaks: Tensor, class_of: Tensor, order: Sequence[int]) -> Tensor:
    """(classes + 1, classes + 1): how often a picture of one has a larger code than one of another, ties as half.

    The last are all pictures of none of these classes.
    """
    group = torch.full((len(class_of),), len(order))
    for place, number in enumerate(order):
        group[class_of == number] = place
    levels, level = peaks.unique(return_inverse=True)
    counts = torch.zeros(len(order) + 1, len(levels), dtype=torch.double)
    counts.index_put_((group, level), torch.ones(len(class_of), dtype=torch.double), accumulate=True)
    below = counts.cumsum(1) - counts / 2
    sizes = counts.sum(1)
    return (counts @ below.T) / (sizes[:, None] * sizes[None, :]).clamp_min(1)


def _against(table: Tensor, sizes: Tensor, place: int, size: int) -> float:
    """AUROC of one class against all but the first `size`."""
    outside = sizes[size:].double()
    if not outside.sum():
        return 0.0
    return ((table[place, size:] * outside).sum() / outside.sum()).item()


def _mostly(peaks: Tensor, class_of: Tensor, members: tuple[int, ...]) -> bool:
    right, count = _strongest(peaks, class_of, members)
    return right >= MIN_STRONGEST_SHARE * count


def _strongest(peaks: Tensor, class_of: Tensor, members: tuple[int, ...]) -> tuple[int, int]:
    """How many of a concept's strongest pictures, as many as the classes have, are of them; the worst backbone's.

    Pictures without a code are never among the strongest.
    """
    inside = torch.isin(class_of, torch.tensor(members))
    count = int(inside.sum())
    counts = []
    for codes in peaks.T:
        if (codes > 0).any():
            top = codes.argsort(descending=True, stable=True)[:count]
            counts.append(int((inside[top] & (codes[top] > 0)).sum()))
    return min(counts, default=0), count
