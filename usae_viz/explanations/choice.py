"""Which concepts of an explanation are shown: each backbone's strongest in turn."""

from __future__ import annotations

from itertools import zip_longest

from usae_viz.explanations.photograph_concepts import PhotographConcepts


def strongest_in_turn(explanation: PhotographConcepts, count: int) -> list[int]:
    """`count` concepts: the first of each backbone, then the second of each, each once.

    By importance where the backbone's answer can be explained (concepts for it before those against it), else by peak.
    """
    orders = [_order(explanation, name) for name in explanation.usae.names]
    in_turn = (concept for row in zip_longest(*orders) for concept in row if concept is not None)
    return list(dict.fromkeys(in_turn))[:count]


def listed_concepts(explanation: PhotographConcepts, top: int) -> list[int]:
    """All that a page lists: the first `top` of each backbone by peak, area and importance, and of the agreed ones."""
    concepts: dict[int, None] = dict.fromkeys(explanation.agreed()[:top])
    for name in explanation.usae.names:
        orders = [explanation.concepts(name, "peak", top), explanation.concepts(name, "area", top)]
        concepts.update(dict.fromkeys(each.concept for order in orders for each in order))
        concepts.update(dict.fromkeys(_order(explanation, name)[:top]))
        concepts.update(dict.fromkeys(explanation.only(name)[:top]))
    return list(concepts)


def _order(explanation: PhotographConcepts, backbone: str) -> list[int]:
    if backbone not in explanation.class_views:
        return [each.concept for each in explanation.concepts(backbone)]
    important = explanation.importance(backbone)
    return [each.concept for each in sorted(important, key=lambda each: (each.exact is None, -each.best))]
