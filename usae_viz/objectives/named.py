"""Objectives whose concepts or classes have names: which numbers those are in a USAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import one_concept
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.class_names import ClassName, parse_class

if TYPE_CHECKING:
    from usae_train.model.usae import USAE


def bound_in(usae: USAE, objectives: Sequence[Objective], labels: Sequence[Label] | None = None) -> list[Objective]:
    """The objectives with their concepts' and classes' names as numbers of a USAE; those without names are the same.

    Args:
        usae: whose concepts.
        objectives: some.
        labels: names that go before all else; the USAE's own by default.

    Raises:
        ValueError: for what is not a USAE or not an objective, or a name that no concept or several have.
    """
    from usae_train.model.given import check_usae  # with torch, which commands have not loaded yet

    check_usae(usae)
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise UsageError(
                f"objective {objective!r}: expected one such as Concept(12); parse_objective reads a text, and "
                "@objective makes one of a function"
            )
    labels = labels_of(usae) if labels is None else labels

    def number(called: str) -> int:
        if isinstance(called, ClassName):
            return parse_class(usae, called.backbone, called.name)
        return one_concept(usae, called, labels)

    return [objective.bound(number) for objective in objectives]
