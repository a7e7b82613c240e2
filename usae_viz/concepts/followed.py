"""Which factor values of a known truth concepts follow, as colours and shapes of the demo's scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from usae_viz.concepts.required_statistics import need_statistics

if TYPE_CHECKING:
    from usae_train.model.usae import USAE

FOLLOWS_AUROC = 0.9  # patch AUROC, in every backbone, from which a concept is said to follow a factor value
# The same, below which a factor value says nothing of a concept: a coin has 0.5; 188 of the demo's 256 are below.
CHANCE_AUROC = 0.6


@dataclass(frozen=True)
class FollowedFactor:
    """The factor value that a concept tracks best, by the smallest AUROC over the backbones."""

    value: str  # such as "colour: red"
    auroc: float


def best_factor(usae: USAE, concept: int) -> FollowedFactor | None:
    """The factor value that a concept follows best in all backbones that have it; None where the truth is not known."""
    if usae.statistics is None or usae.statistics.auroc is None:
        return None
    owner = usae.private.owner(concept)
    rows = slice(None) if owner is None else [usae.names.index(owner)]
    smallest = usae.statistics.auroc[rows, :, concept].amin(0).nan_to_num(0.0)
    value = int(smallest.argmax())
    return FollowedFactor(usae.factors[value], smallest[value].item())


def factor_followed(usae: USAE, concept: int) -> FollowedFactor | None:
    """What a concept is labelled by: the factor value that it follows best, unless that is no better than chance."""
    followed = best_factor(usae, concept)
    return None if followed is None or followed.auroc < CHANCE_AUROC else followed


def best_concept(usae: USAE, value: int) -> tuple[int, float]:
    """The concept that follows a factor value best in all backbones by one index, and its smallest AUROC."""
    auroc = need_statistics(usae).auroc
    assert auroc is not None
    smallest = auroc[:, value].amin(0).nan_to_num(0.0)
    concept = int(smallest.argmax())
    return concept, smallest[concept].item()
