"""How much of a classifier's answers survives when its tokens are replaced by their reconstructions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.backbones.backbone import Backbone
from usae_train.evaluation.report_form import AnswersFigures, ByName, SurvivingAnswers
from usae_train.images.classes import NO_CLASS, ImageClasses, imagenet_classes
from usae_train.interventions.importance import find_answering_site
from usae_train.interventions.replacement import CLEAN, MEAN, ZERO, replaced_logits
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError

LABELS, OWN_ANSWER = "labels", "own answer"


class Answers:
    """Sums over pictures: how often each backbone's classifier is right, and its cross-entropy.

    By labels where the pictures have the classifier's own, otherwise by its own answer to the unchanged picture; then
    accuracy is agreement.

    Args:
        usae: a USAE with backbones.
        classes: the pictures' classes, where they have some.
    """

    def __init__(self, usae: USAE, classes: ImageClasses | None = None) -> None:
        self.usae, self.classes = usae, classes
        self.refused: dict[str, str] = {}
        self.labels: dict[
            str, Tensor | None
        ] = {}  # of each backbone with a usable classifier, the class of each picture
        for name in usae.names:
            try:
                network, _ = find_answering_site(usae, name)
            except UsageError as error:
                self.refused[name] = str(error)
            else:
                self.labels[name] = None if classes is None else classifier_classes(classes, network.spec.classes)
        conditions = MEAN + 1 + len(usae.names)
        self.sums = {name: torch.zeros(conditions, 2, dtype=torch.double) for name in self.labels}  # right, loss
        self.counts = {name: torch.zeros((), dtype=torch.long) for name in self.labels}

    def fresh(self) -> Answers:
        """An empty copy; the pictures' labels, which may be many, are not looked up again."""
        empty = copy.copy(self)
        empty.sums = {name: torch.zeros_like(sums) for name, sums in self.sums.items()}
        empty.counts = {name: torch.zeros_like(count) for name, count in self.counts.items()}
        return empty

    def add(self, numbers: Tensor, canvases: Tensor, tokens: Mapping[str, Tensor]) -> None:
        """Take in some pictures.

        Args:
            numbers: (pictures,) their numbers.
            canvases: (pictures, 3, H, W).
            tokens: {backbone: (pictures, token, width)} on the common grid.
        """
        backbones = self.usae.backbones
        own_grid_tokens = {
            name: tokens[name] if backbone.grid == self.usae.grid else backbone(canvases)
            for name, backbone in backbones.items()
        }
        for name, labels in self.labels.items():
            logits = replaced_logits(self.usae, name, canvases, own_grid_tokens).double()
            right_class = logits[CLEAN].argmax(-1) if labels is None else labels[numbers].to(logits.device)
            labelled = right_class != NO_CLASS
            if not labelled.any():
                continue
            logits, right_class = logits[:, labelled], right_class[labelled].expand(len(logits), -1)
            right = (logits.argmax(-1) == right_class).sum(1)
            loss = functional.cross_entropy(logits.movedim(-1, 1), right_class, reduction="none").sum(1)
            self.sums[name] += torch.stack([right.double(), loss], 1).cpu()
            self.counts[name] += int(labelled.sum())

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"sums": self.sums, "counts": self.counts}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add another's sums to these."""
        for name in self.labels:
            self.sums[name] = self.sums[name] + state["sums"][name]
            self.counts[name] = self.counts[name] + state["counts"][name]

    def figures(self) -> AnswersFigures:
        """For the report."""
        counts = {name: int(count) for name, count in self.counts.items() if count}
        means = {name: self.sums[name] / self.counts[name] for name in counts}
        counts_as_right = {name: OWN_ANSWER if labels is None else LABELS for name, labels in self.labels.items()}
        return {
            "refused": self.refused,
            "backbones": {
                name: {"by": counts_as_right[name], "images": count, **surviving_answers(means[name], self.usae.names)}
                for name, count in counts.items()
            },
        }


def surviving_answers(means: Tensor, sources: Sequence[str]) -> SurvivingAnswers:
    """What survives, from accuracy and cross-entropy (conditions, 2) of a classifier.

    Loss recovered is (L0 - L) / (L0 - L*): L with the reconstruction, L* with the tokens as they are, and L0 with the
    patch tokens as zeros (Bricken et al. 2023, Towards Monosemanticity; SAELens `ce_loss_score`), or, which is
    stricter, as the mean token. NaN where removing the tokens does no harm.
    """
    rows = [{"accuracy": right, "cross_entropy": loss} for right, loss in means.tolist()]
    clean = rows[CLEAN]
    reconstructed = {
        source: {
            **answers,
            "accuracy_share": answers["accuracy"] / clean["accuracy"] if clean["accuracy"] else float("nan"),
            "loss_recovered": _recovered(answers, clean, rows[ZERO]),
            "loss_recovered_from_mean": _recovered(answers, clean, rows[MEAN]),
        }
        for source, answers in zip(sources, rows[MEAN + 1 :], strict=True)
    }
    return {"clean": clean, "zero": rows[ZERO], "mean": rows[MEAN], "from": reconstructed}


def _recovered(answers: ByName, clean: ByName, without: ByName) -> float:
    harm = without["cross_entropy"] - clean["cross_entropy"]
    return (without["cross_entropy"] - answers["cross_entropy"]) / harm if harm > 0 else float("nan")


def classifier_classes(classes: ImageClasses, count: int) -> Tensor | None:
    """(pictures,): each picture's class by ImageNet's numbers, -1 for none.

    Folders are named by WordNet's ids (n02123045) or class names (tabby). None where the classifier is not ImageNet's,
    or a name is none of its classes, or two of them (crane).
    """
    imagenet = imagenet_classes(count)
    if imagenet is None:
        return None
    number = dict[str, int]()
    for index, (_, names) in enumerate(imagenet):
        for word in {_letters_of(each) for each in names.split(",")}:
            number[word] = NO_CLASS if word in number else index  # a crane is a bird, and a machine
    number |= {_letters_of(wordnet_id): index for index, (wordnet_id, _) in enumerate(imagenet)}
    class_of = [number.get(_letters_of(name), NO_CLASS) for name in classes.names]
    if NO_CLASS in class_of:
        return None
    return torch.tensor([NO_CLASS if each == NO_CLASS else class_of[each] for each in classes.numbers])


def _letters_of(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def check_answers(usae: USAE, backbones: Mapping[str, Backbone]) -> None:
    """Refuse a USAE none of whose backbones has a classifier."""
    if not any(backbone.spec.classes for backbone in backbones.values()):
        names = ", ".join(backbones)
        raise UsageError(
            f"--answers: no backbone of {usae.source or 'this USAE'} has a classifier ({names}); set `classes` in the "
            "spec of one to the number of its classes"
        )
