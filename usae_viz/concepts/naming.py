"""What is known of concepts: figures, what they follow, captions, and the table that `usae-viz concepts` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, get_args

from usae_train.model.outline import Described
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import labels_of, names_by_concept
from usae_viz.concepts.settings import ConceptsSettings, Sort

if TYPE_CHECKING:
    from usae_train.model.statistics import Statistics
    from usae_train.model.usae import USAE

LIST_DEFAULTS = ConceptsSettings()
FOLLOWS = 0.9  # patch AUROC, in every backbone, from which on a concept is said to follow a factor value
# The same, below which a factor value says nothing of a concept: 0.5 is a coin's; 188 of the demo's 256 are below.
CHANCE = 0.6


@dataclass(frozen=True)
class Follows:
    """The factor value that a concept tracks best, by the smallest AUROC over the backbones."""

    value: str  # such as "colour: red"
    auroc: float


@dataclass(frozen=True)
class ConceptRow:
    """What `usae-viz concepts` says of one concept; the lists follow the USAE's order of backbones."""

    concept: int
    universality: float
    entropy: float | None  # None where nothing fires, or with one backbone
    energy: float
    firing_share: list[float]
    follows: Follows | None
    agreement: float | None = None  # of a consensus: the share of its trainings in which the concept came back
    private: str | None = None  # the one backbone that has it; None for a concept that all share

    def as_dict(self) -> dict[str, object]:
        """For `--json`; without `agreement` for a USAE that is no consensus, nor `private` for a shared concept."""
        left_out = ("agreement", "private")
        return {key: value for key, value in asdict(self).items() if key not in left_out or value is not None}


def known_concept(usae: Described, concept: int) -> int:
    """The concept itself.

    Raises:
        ValueError: when the USAE has no such concept; says how many there are.
    """
    if not 0 <= concept < usae.n_concepts:
        raise UsageError(f"no concept {concept}; this USAE has {usae.n_concepts}, numbered 0 to {usae.n_concepts - 1}")
    return concept


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
    concepts = range(usae.n_concepts) if private is None else usae.private.of(usae.known_name(private))
    statistics = need_figure(usae, sort)
    universality, entropy = statistics.universality, statistics.firing_entropy
    energy, shares = statistics.energy.mean(0), statistics.firing_share
    rows = [
        ConceptRow(
            k,
            universality[k].item(),
            None if entropy[k].isnan() else entropy[k].item(),
            energy[k].item(),
            shares[:, k].tolist(),
            follows(usae, k),
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


def follows(usae: USAE, concept: int) -> Follows | None:
    """The factor value that a concept follows best in all backbones that have it; None where the truth is not known."""
    if usae.statistics is None or usae.statistics.auroc is None:
        return None
    owner = usae.private.owner(concept)
    rows = slice(None) if owner is None else [usae.names.index(owner)]
    smallest = usae.statistics.auroc[rows, :, concept].amin(0).nan_to_num(0.0)
    value = int(smallest.argmax())
    return Follows(usae.factors[value], smallest[value].item())


def check_sort(sort: str) -> None:
    """Raise a ValueError for an order that there is not; it says which there are."""
    if sort not in get_args(Sort):
        raise UsageError(f"unknown order {sort!r}; expected one of {', '.join(get_args(Sort))}")


def factor_followed(usae: USAE, concept: int) -> Follows | None:
    """What a concept is labelled by: the factor value that it follows best, unless that is no better than chance."""
    followed = follows(usae, concept)
    return None if followed is None or followed.auroc < CHANCE else followed


def best_concept(usae: USAE, value: int) -> tuple[int, float]:
    """The concept that follows a factor value best in all backbones by one index, and its smallest AUROC."""
    auroc = need_statistics(usae).auroc
    assert auroc is not None
    smallest = auroc[:, value].amin(0).nan_to_num(0.0)
    concept = int(smallest.argmax())
    return concept, smallest[concept].item()


def caption(usae: USAE, concept: int, names: Mapping[int, str] | None = None) -> str:
    """One line on a concept for a sheet: its number, its name if it has one, what it follows if that is known.

    Of a consensus also the share of the trainings in which it came back; of a private one, the backbone that has it.
    `names` are `names_by_concept` of the USAE's labels, where somebody has read them already.

    Raises:
        ValueError: when the USAE has no such concept.
    """
    followed, words = factor_followed(usae, known_concept(usae, concept)), list[str]()
    names = names_by_concept(labels_of(usae)) if names is None else names
    if concept in names:
        words.append(names[concept])
    if followed is not None:
        word = "follows" if followed.auroc >= FOLLOWS else "nearest to"
        words.append(f"{word} {followed.value} (AUROC {followed.auroc:.2f})")
    if usae.agreement is not None:
        words.append(f"in {usae.agreement[concept].item():.0%} of the trainings")
    if (owner := usae.private.owner(concept)) is not None:
        words.append(f"private to {owner}")
    return f"concept {concept}" + (f": {', '.join(words)}" if words else "")


def by_universality(statistics: Statistics) -> list[int]:
    """All concepts, the most universal first; of equal ones the one with more co-fires, then with more energy."""
    universality, together = statistics.universality.tolist(), statistics.co_fires.tolist()
    energy = statistics.energy.mean(0).tolist()
    return sorted(range(len(together)), key=lambda k: (-universality[k], -together[k], -energy[k]))


def need_statistics(usae: USAE) -> Statistics:
    """The USAE's statistics.

    Raises:
        ValueError: when it has none.
    """
    if usae.statistics is None:
        raise UsageError("this USAE has no statistics; fit it on pictures, which measures them")
    return usae.statistics


def need_figure(usae: USAE, by: str) -> Statistics:
    """The USAE's statistics, where concepts can be ordered by one of them.

    Raises:
        ValueError: when it has none, by auroc for one without a known truth, by agreement for one of one training.
    """
    statistics = need_statistics(usae)
    if by == "auroc" and statistics.auroc is None:
        raise UsageError("by auroc: this USAE's statistics have no truth to compare with")
    if by == "agreement" and usae.agreement is None:
        raise UsageError("by agreement: this USAE is one training; `usae-train consensus` makes one of several")
    return statistics
