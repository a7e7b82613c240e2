"""Objectives in a USAE: which numbers names of concepts and classes are, and which backbones can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import one_concept
from usae_viz.objectives.algebra import Objective, check_objective
from usae_viz.objectives.class_names import ClassName, parse_class

if TYPE_CHECKING:
    from usae_train.model.usae import USAE


def bound_in(usae: USAE, objectives: Sequence[Objective], labels: Sequence[Label] | None = None) -> list[Objective]:
    """The objectives with their concepts' and classes' names as numbers of a USAE; those without names are the same.

    One of a concept that a backbone has for itself is asked of that backbone alone, unless it says of which itself.
    `labels` go before all else; the USAE's own by default.

    Raises:
        ValueError: for what is not a USAE or not an objective, a name that no concept or several have, or private
            concepts that no backbone it is asked of has.
    """
    from usae_train.model.usae import check_usae  # imports torch, which commands have not loaded yet

    check_usae(usae)
    for objective in objectives:
        check_objective(objective)
    labels = labels_of(usae) if labels is None else labels

    def number(name: str) -> int:
        if isinstance(name, ClassName):
            return parse_class(usae, name.backbone, name.name)
        return one_concept(usae, name, labels)

    bound = [objective.bound(number) for objective in objectives]
    return [through_owner(usae, objective) for objective in bound] if usae.private else bound


def through_owner(usae: USAE, objective: Objective) -> Objective:
    """The objective, asked of the backbone whose own its concepts are; itself where none is private.

    Raises:
        ValueError: for concepts of which no backbone has all, or that none of those it names has.
    """
    owners = {concept: owner for concept in objective.concepts if (owner := usae.private.owner(concept)) is not None}
    backbones = objective.backbones
    for concept, owner in owners.items():
        if backbones is not None and owner not in backbones:
            raise UsageError(
                f"objective {objective}: concept {concept} is private to {owner}, and "
                f"{', '.join(backbones)} cannot see it"
            )
    if backbones is not None or not owners:
        return objective
    if len(set(owners.values())) > 1:
        whose = ", ".join(f"{concept} to {owner}" for concept, owner in owners.items())
        raise UsageError(
            f"objective {objective}: its concepts are private, {whose}; no backbone sees all of them: give each its "
            "own, as in Concept(12, backbone='dino')"
        )
    return objective.through([next(iter(owners.values()))])
