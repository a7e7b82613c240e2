"""Names for concepts from classes of pictures, in the form that `--labels` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from usae_train.evaluation.class_concepts import ClassConcepts, check_counts, class_concepts
from usae_train.evaluation.settings import NameSettings
from usae_train.files.atomic import write_atomically
from usae_train.images.classes import need_classes
from usae_train.images.sources import ImageSource
from usae_train.model.concept_names import WILDCARD, why_no_name
from usae_train.model.natural import peak_codes
from usae_train.model.usae import USAE
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults

NAME_DEFAULTS = NameSettings()


@dataclass(frozen=True)
class ConceptName:
    """A concept's name, and how sure it is."""

    concept: int
    name: str
    auroc: float  # the smallest over both halves and the backbones
    strongest: tuple[int, int]  # how many of its strongest pictures are of the class, of how many; the worst backbone's

    @property
    def note(self) -> str:
        """How sure it is, for a labels file."""
        right, count = self.strongest
        return f"class AUROC at least {self.auroc:.2f} in each half and backbone; {right} of its {count} strongest"


@with_torch_defaults
@torch.no_grad()
def name_concepts(
    usae: USAE,
    source: ImageSource,
    settings: NameSettings = NAME_DEFAULTS,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> ClassConcepts:
    """Which concepts stand for the classes of some pictures, in both of two halves of them.

    Args:
        usae: a USAE with backbones.
        source: pictures of classes: IMAGES/class/..., a WebDataset with `.cls`, or a dataset with a column of classes.
        settings: the seed of the halves, the column of classes, and how pictures are read.
        progress: called after each batch with pictures done, and in all.
        failure: called with each picture that cannot be read, and why.

    Raises:
        ValueError: for pictures without classes, a class of fewer than 4, or when none can be read.
    """
    classes = need_classes(source, settings.label_column)
    check_counts(classes, classes.counts)  # before an hour of encoding
    numbers, peaks = peak_codes(usae, source, progress, failure, settings.readers)
    class_of = torch.tensor(classes.numbers)[numbers]
    check_counts(classes, torch.bincount(class_of[class_of >= 0], minlength=len(classes.names)).tolist())
    return class_concepts(peaks, numbers, classes, settings.seed)


def names_of(concepts: ClassConcepts) -> list[ConceptName]:
    """Names of the concepts that stand for one class."""
    class_names = concepts.classes.names
    return [
        ConceptName(each.concept, label_name(class_names[each.classes[0]]), each.auroc, each.strongest)
        for each in concepts.named
    ]


def write_labels(names: list[ConceptName], usae: USAE, file: Path) -> None:
    """Write names as the explorer exports them, whole or not at all."""
    labels = [{"concept": each.concept, "name": each.name, "favourite": False, "note": each.note} for each in names]
    record = {"schema": 1, "usae": usae.source, "usae_sha256": usae.sha256, "labels": labels}
    write_atomically(file, json.dumps(record, indent=1) + "\n")


def naming_as_json(concepts: ClassConcepts) -> dict[str, Any]:
    """Everything found, for `--json`."""
    return {
        "named": [
            {"concept": each.concept, "name": each.name, "auroc": each.auroc, "strongest": list(each.strongest)}
            for each in names_of(concepts)
        ],
        "shared": [
            {"concept": each.concept, "classes": [concepts.classes.names[n] for n in each.classes], "auroc": each.auroc}
            for each in concepts.shared
        ],
        "by_chance": concepts.by_chance,
    }


def label_name(class_name: str) -> str:
    """A class's name as a labels file can have it: what is before a comma, made valid where concepts are typed."""
    bare = WILDCARD.sub(" ", class_name.partition(",")[0].replace("_", " "))
    name = " ".join(bare.split()) or "class"
    return name if why_no_name(name) is None else f"class {name}"
