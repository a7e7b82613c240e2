"""Classes and concepts, for the report."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from usae_train.evaluation.class_concepts import ClassConcept, ClassConcepts, class_concepts
from usae_train.evaluation.report_form import ClassConceptFigures, ClassFigures
from usae_train.images.classes import ImageClasses

BEST_CONCEPTS = 5  # concepts per class in the report, ranked by their worst backbone


def class_figures(peaks: Tensor, numbers: Tensor, classes: ImageClasses, names: list[str], seed: int) -> ClassFigures:
    """For the report: the concepts that recognize each class best, those that stand for one, and those that are shared.

    Args:
        peaks: (pictures, backbones, concepts).
        numbers: (pictures,) their numbers in the source.
        classes: of the source's pictures.
        names: the backbones'.
        seed: of the halves.
    """
    concepts = class_concepts(peaks, numbers, classes, seed)
    return {
        "classes": {
            name: {"images": count, "best": _best(concepts, number, names)}
            for number, (name, count) in enumerate(zip(classes.names, classes.counts, strict=True))
        },
        "stand_for_one": [_record(each, classes) for each in concepts.named],
        "shared": [_record(each, classes) for each in concepts.shared],
        "by_chance": concepts.by_chance,
    }


def _best(concepts: ClassConcepts, number: int, names: list[str]) -> list[dict[str, Any]]:
    areas = concepts.areas[:, number].nan_to_num(0.0)  # (backbones, concepts)
    order = areas.amin(0).argsort(descending=True, stable=True)[:BEST_CONCEPTS].tolist()
    return [{"concept": k, "auroc": dict(zip(names, areas[:, k].tolist(), strict=True))} for k in order]


def _record(each: ClassConcept, classes: ImageClasses) -> ClassConceptFigures:
    return {
        "concept": each.concept,
        "classes": [classes.names[number] for number in each.classes],
        "auroc": each.auroc,
        "strongest": list(each.strongest),
    }
