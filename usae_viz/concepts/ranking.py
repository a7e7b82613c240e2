"""Concepts ranked by a USAE's statistics: a row for each, and the orders in which they are listed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, get_args

from usae_train.runtime.errors import UsageError
from usae_viz.concepts.followed import FollowedFactor, best_factor
from usae_viz.concepts.required_statistics import need_statistic
from usae_viz.concepts.settings import ConceptsSettings, Sort

if TYPE_CHECKING:
    from usae_train.model.statistics import Statistics
    from usae_train.model.usae import USAE

LIST_DEFAULTS = ConceptsSettings()


@dataclass(frozen=True)
class ConceptRow:
    """What `usae-viz concepts` says of one concept; the lists follow the USAE's order of backbones."""

    concept: int
    universality: float
    entropy: float | None  # None where nothing fires, or with one backbone
    energy: float
    firing_share: list[float]
    follows: FollowedFactor | None
    agreement: float | None = None  # of a consensus: the share of its trainings in which the concept was found
    private: str | None = None  # the one backbone that has it; None for a concept that all share

    def as_dict(self) -> dict[str, object]:
        """For `--json`; without `agreement` for a USAE that is not a consensus, nor `private` for a shared concept."""
        optional = ("agreement", "private")
        return {key: value for key, value in asdict(self).items() if key not in optional or value is not None}


def concept_rows(
    usae: USAE, sort: Sort = LIST_DEFAULTS.sort, top: int | None = None, private: str | None = None
) -> list[ConceptRow]:
    """Every concept's figures, or the first `top`, the largest first (`index`: in their own order).

    With `private`, only the concepts that this backbone has for itself.

    Raises:
        ValueError: for a USAE without statistics (or, by auroc, without a known truth; by agreement, of one training),
            an unknown order, or private concepts of a USAE or backbone that has none.
    """
    check_sort(sort)
    concepts = range(usae.n_concepts) if private is None else usae.private.of(usae.check_backbone(private))
    statistics = need_statistic(usae, sort)
    universality, entropy = statistics.universality, statistics.firing_entropy
    energy, shares = statistics.energy.mean(0), statistics.firing_share
    rows = [
        ConceptRow(
            k,
            universality[k].item(),
            None if entropy[k].isnan() else entropy[k].item(),
            energy[k].item(),
            shares[:, k].tolist(),
            best_factor(usae, k),
            None if usae.agreement is None else round(usae.agreement[k].item(), 4),
            usae.private.owner(k),
        )
        for k in concepts
    ]
    order = {concept: place for place, concept in enumerate(by_universality(statistics))}
    keys = {
        "universality": lambda row: order[row.concept],
        "energy": lambda row: -row.energy,
        "entropy": lambda row: 1.0 if row.entropy is None else -row.entropy,
        "fires": lambda row: -(min if row.private is None else max)(row.firing_share),
        "auroc": lambda row: -(row.follows.auroc if row.follows else 0.0),
        "agreement": lambda row: (-(row.agreement or 0.0), order[row.concept]),
        "index": lambda row: row.concept,
    }
    return sorted(rows, key=keys[sort])[:top]


def check_sort(sort: str) -> None:
    """Raise a ValueError for an unknown order, which lists the known ones."""
    if sort not in get_args(Sort):
        raise UsageError(f"unknown order {sort!r}; expected one of {', '.join(get_args(Sort))}")


def by_universality(statistics: Statistics) -> list[int]:
    """All concepts, the most universal first; of equal ones the one with more co-fires, then with more energy."""
    universality, co_fires = statistics.universality.tolist(), statistics.co_fires.tolist()
    energy = statistics.energy.mean(0).tolist()
    return sorted(range(len(co_fires)), key=lambda k: (-universality[k], -co_fires[k], -energy[k]))
