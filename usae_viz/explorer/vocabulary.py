"""What the page's search needs to read concepts as `--concept` does: the factor values, and the order of `top:8`."""

from __future__ import annotations

from dataclasses import dataclass

from usae_train.model.usae import USAE
from usae_viz.concepts.followed import best_concept
from usae_viz.concepts.ranking import by_universality


@dataclass(frozen=True)
class FactorData:
    """A factor value, and the concept that follows it best."""

    value: str  # such as "colour: red"
    concept: int
    auroc: float  # in the weakest backbone


def factor_data(usae: USAE | None) -> list[FactorData]:
    """Every factor value, where the truth is known."""
    if usae is None or usae.statistics is None or usae.statistics.auroc is None:
        return []
    return [FactorData(value, *best_concept(usae, place)) for place, value in enumerate(usae.factors)]


def most_universal_first(usae: USAE | None) -> list[int] | None:
    """All concepts in the order of `top:8`; None without statistics."""
    return None if usae is None or usae.statistics is None else by_universality(usae.statistics)
