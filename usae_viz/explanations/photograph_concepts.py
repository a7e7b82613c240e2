"""What backbones see in a photograph: concepts by peak, area and importance, their maps, what is agreed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

from usae_train.files.whole_numbers import at_least
from usae_train.interventions.importance import ClassView, class_view, without_each
from usae_train.interventions.removal_order import removal_order
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import FormerName, former_arguments
from usae_viz.concepts.followed import FOLLOWS_AUROC, best_factor
from usae_viz.concepts.labels import Label, names_by_concept
from usae_viz.concepts.parsing import one_concept
from usae_viz.explanations.concept_maps import ConceptActivity, ConceptMaps
from usae_viz.explanations.photograph import Photograph
from usae_viz.objectives.class_names import class_in_words, parse_class

N_EXACT = 20  # concepts that are taken away one by one
N_CARRIERS = 5  # concepts that are taken away together
ConceptOrder = Literal["peak", "area", "importance"]


@dataclass(frozen=True)
class Importance:
    """What a concept does to one class's logit through one backbone."""

    concept: int
    name: str | None
    exact: float | None  # what the logit loses when the concept is taken away; None where only estimated
    estimate: float  # gradient x code

    @property
    def best(self) -> float:
        """The exact change, or the estimate where there is none."""
        return self.estimate if self.exact is None else self.exact


@dataclass(frozen=True)
class Carrier:
    """A concept that was taken away after others, and what is left of one class through one backbone."""

    concept: int
    name: str | None
    lost: float  # of the class's logit, without this concept and all before it
    probability: float  # that is left


@dataclass(frozen=True)
class ClassAnswer:
    """What a classifier says of the photograph."""

    class_: int
    name: str
    probability: float
    logit: float


@dataclass(eq=False)
class PhotographConcepts:
    """What the backbones of a USAE see in one photograph."""

    usae: USAE = field(repr=False)
    photograph: Photograph
    canvas: Tensor = field(repr=False)  # (1, 3, size, size), what they were shown
    maps: dict[str, ConceptMaps] = field(repr=False)
    class_views: dict[str, ClassView] = field(repr=False)  # of the backbones whose answer can be explained
    refused: dict[str, str] = field(repr=False)  # of the others: why not
    labels: Sequence[Label] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.names: dict[int, str] = _followed(self.usae) | names_by_concept(self.labels)
        self._exact: dict[tuple[str, int], dict[int, float]] = {}

    @former_arguments(limit="top")
    def concepts(self, backbone: str, by: ConceptOrder = "peak", top: int | None = None) -> list[ConceptActivity]:
        """The concepts that fire in a backbone, the strongest first.

        Args:
            backbone: which one.
            by: largest code, share of the patches in which it fires, or what it does to the answer (either way).
            top: how many; all by default.

        Raises:
            ValueError: for an unknown backbone or order, a `top` below 0, or importance in one without an answer.
        """
        if top is not None:
            at_least(0, top, "top")
        if by not in get_args(ConceptOrder):
            raise UsageError(f"concepts by {by!r}; expected one of {', '.join(get_args(ConceptOrder))}")
        maps = self._maps(backbone)
        if by == "importance":
            order = [each.concept for each in self.importance(backbone)]
        else:
            areas = maps.areas
            order = maps.firing if by == "peak" else sorted(maps.firing, key=lambda k: -areas[k].item())
        return [maps.activity(concept, self.names.get(concept)) for concept in order[:top]]

    def map(self, backbone: str, concept: int | str) -> Tensor:
        """A concept's codes, (rows, cols), at the backbone's own grid; the concept by number or name."""
        return self._maps(backbone).codes[self.number(concept)]

    def answer(self, backbone: str) -> ClassAnswer | None:
        """What its classifier says; None where there is none, or none that can be asked about."""
        view = self.class_views.get(self.usae.check_backbone(backbone))
        if view is None:
            return None
        logits, likely = view.logits, view.logits.softmax(-1)
        top = int(logits.argmax())
        return ClassAnswer(top, class_in_words(len(logits), top), likely[top].item(), logits[top].item())

    def asked_class(self, backbone: str) -> tuple[int, str]:
        """The class that importance is for, and its name.

        Raises:
            ValueError: for a backbone without an answer.
        """
        view = self._class_view(backbone)
        return view.class_, class_in_words(len(view.logits), view.class_)

    asked = FormerName("asked_class")

    def importance(self, backbone: str, class_: int | str | None = None, exact: int = N_EXACT) -> list[Importance]:
        """What the firing concepts do to a class's logit, the largest change first; positive: the class depends on it.

        Those with the largest estimates are taken away one by one, which is exact; the others follow by estimate.

        Args:
            backbone: one with a classifier.
            class_: number or name; the explanation's by default, which is the most probable unless one was given.
            exact: how many are taken away.

        Raises:
            ValueError: for a backbone without a classifier or that cannot be edited, an unknown class, or a negative
                number to take away.
        """
        at_least(0, exact, "exact")
        view = self._class_view(backbone)
        if class_ is not None and (number := parse_class(self.usae, backbone, class_)) != view.class_:
            view = class_view(self.usae, backbone, self.canvas, number, view.output)
        firing = sorted(self.maps[backbone].firing, key=lambda k: -abs(view.estimate[k].item()))
        drops = self._drops(backbone, view.class_, firing[:exact])
        importances = [Importance(k, self.names.get(k), drops.get(k), view.estimate[k].item()) for k in firing]
        return sorted(importances, key=lambda each: (each.exact is None, -abs(each.best)))

    def carriers(self, backbone: str, count: int = N_CARRIERS) -> list[Carrier]:
        """The firing concepts that carry the asked class between them: taken away one after the other.

        Each is chosen without those before it, which finds what `importance`, where each is taken away alone, does not:
        concepts that stand in for one another.

        Args:
            backbone: one with a classifier.
            count: how many, at most.

        Raises:
            ValueError: for a backbone without a classifier or that cannot be edited, or a count below 1.
        """
        at_least(1, count, "count")
        view, firing = self._class_view(backbone), self.maps[backbone].firing
        order = removal_order(self.usae, backbone, self.canvas, view, firing, count)
        removed_sets = [order[: at + 1] for at in range(len(order))]
        logits = without_each(self.usae, backbone, self.canvas, removed_sets, view)
        drops = (logits[0, view.class_] - logits[1:, view.class_]).tolist()
        likely = logits[1:].softmax(-1)[:, view.class_].tolist()
        return [Carrier(k, self.names.get(k), *row) for k, *row in zip(order, drops, likely, strict=True)]

    def drops(self, backbone: str, concepts: Sequence[int]) -> dict[int, float]:
        """{concept: what the asked class's logit loses without it, exactly}; empty where there is no answer to ask.

        Raises:
            ValueError: for an unknown backbone or concept.
        """
        view = self.class_views.get(self.usae.check_backbone(backbone))
        numbers = [self.number(concept) for concept in concepts]
        return {} if view is None else self._drops(backbone, view.class_, numbers)

    def agreed(self) -> list[int]:
        """The concepts that fire in every backbone; first the one whose weakest place among a backbone's is best."""
        ranks = [{concept: place for place, concept in enumerate(maps.firing)} for maps in self.maps.values()]
        common = set(ranks[0]).intersection(*ranks[1:])
        return sorted(common, key=lambda k: (max(places[k] for places in ranks), sum(places[k] for places in ranks)))

    def only(self, backbone: str) -> list[int]:
        """The concepts that fire in this backbone alone, the strongest first; all with a single backbone."""
        others = [maps.areas > 0 for name, maps in self.maps.items() if name != backbone]
        return [k for k in self._maps(backbone).firing if not any(bool(fires[k]) for fires in others)]

    def number(self, concept: int | str) -> int:
        """A concept's number, from its number or name.

        Raises:
            ValueError: when there is no such concept; the nearest names are in the message.
        """
        return one_concept(self.usae, concept, self.labels)

    def _maps(self, backbone: str) -> ConceptMaps:
        return self.maps[self.usae.check_backbone(backbone)]

    def _class_view(self, backbone: str) -> ClassView:
        """Of a backbone whose answer can be asked about.

        Raises:
            ValueError: for another, and why it cannot.
        """
        self._maps(backbone)
        if backbone not in self.class_views:
            raise UsageError(self.refused[backbone])
        return self.class_views[backbone]

    def _drops(self, backbone: str, class_: int, concepts: Sequence[int]) -> dict[int, float]:
        """{concept: what a class's logit loses without it}; those that were asked before are not run again."""
        drops, peaks = self._exact.setdefault((backbone, class_), {}), self.maps[backbone].peaks
        drops |= {concept: 0.0 for concept in concepts if concept not in drops and peaks[concept] <= 0}
        missing = [concept for concept in concepts if concept not in drops]
        if missing:
            removed_sets = [[concept] for concept in missing]
            logits = without_each(self.usae, backbone, self.canvas, removed_sets, self.class_views[backbone])[:, class_]
            drops.update(zip(missing, (logits[0] - logits[1:]).tolist(), strict=True))
        return {concept: drops[concept] for concept in concepts}


def _followed(usae: USAE) -> dict[int, str]:
    """Names where the truth is known: of the concepts that follow a factor value."""
    if not usae.factors:
        return {}
    factors = {concept: best_factor(usae, concept) for concept in range(usae.n_concepts)}
    return {k: factor.value for k, factor in factors.items() if factor is not None and factor.auroc >= FOLLOWS_AUROC}
