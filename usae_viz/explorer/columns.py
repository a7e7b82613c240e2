"""What the explorer sorts and filters by: a column of figures per statistic, a value per card."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from usae_train.model.statistics import Statistics
from usae_train.model.usae import USAE
from usae_viz.concepts.followed import factor_followed
from usae_viz.runs.run_folder import RenderedImage, RenderedObjective

ColumnKind = Literal["share", "number", "count", "percent"]


@dataclass(frozen=True)
class Column:
    """One figure of every card; None where it is not known."""

    key: str
    label: str
    description: str
    kind: ColumnKind
    values: list[float | None]
    backbone: str | None = None
    log: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


def concept_columns(usae: USAE, concepts: Sequence[int | None]) -> list[Column]:
    """The USAE's statistics of some cards; empty without statistics.

    Args:
        usae: the model.
        concepts: each card's concept; None for a card of another objective, whose figures are not known.
    """
    statistics = usae.statistics
    if statistics is None:
        return []
    columns = _of_all_backbones(statistics, concepts)
    if usae.agreement is not None:
        description = "share of the trainings behind this consensus in which the concept was found"
        columns.append(Column("agreement", "trainings agree", description, "share", _values(usae.agreement, concepts)))
    if statistics.auroc is not None:
        labels = [None if k is None else factor_followed(usae, k) for k in concepts]
        areas = [None if each is None else round(each.auroc, 4) for each in labels]
        description = "how well its code tells the patches of its label apart: AUROC, in the weakest backbone"
        columns.append(Column("auroc", "follows its label", description, "share", areas))
    for row, name in enumerate(usae.names):
        columns += _of_backbone(statistics, row, name, concepts)
        if name in usae.private.ranges:
            description = "1 for a concept that no other backbone has; 0 for all others"
            is_private = [None if k is None else float(usae.private.owner(k) == name) for k in concepts]
            columns.append(Column(f"private.{name}", "private", description, "share", is_private, name))
    return columns


def _values(statistic: Tensor, concepts: Sequence[int | None]) -> list[float | None]:
    """A statistic of every concept (n_concepts,), for each card."""
    figures = statistic.tolist()
    return [None if k is None else _rounded(figures[k]) for k in concepts]


def _of_all_backbones(statistics: Statistics, concepts: Sequence[int | None]) -> list[Column]:
    smallest = "the smallest, over the backbones, of the share of a concept's fires at which all backbones fire"
    universality = f"{smallest}, beyond chance; 0 under 50 such patches"
    entropy = "1: every backbone fires it equally often; 0: one alone does"
    energy = "how much of the tokens it explains, mean over the backbones"
    co_fires = "patches at which every backbone fires it"
    return [
        Column("universality", "universality", universality, "share", _values(statistics.universality, concepts)),
        Column("entropy", "firing entropy", entropy, "share", _values(statistics.firing_entropy, concepts)),
        Column("energy", "energy", energy, "number", _values(statistics.energy.mean(0), concepts), log=True),
        Column("co_fires", "co-fires", co_fires, "count", _values(statistics.co_fires, concepts), log=True),
    ]


def _of_backbone(statistics: Statistics, row: int, name: str, concepts: Sequence[int | None]) -> list[Column]:
    def column(key: str, label: str, description: str, kind: ColumnKind, figures: Tensor, log: bool = False) -> Column:
        return Column(f"{key}.{name}", label, description, kind, _values(figures, concepts), name, log)

    fires = "share of the patches in which it fires"
    co_firing = "of its fires here, the share at which all backbones fire"
    energy = "how much of the tokens it explains"
    return [
        column("fires", "fires", fires, "share", statistics.firing_share[row], log=True),
        column("co_firing", "co-firing", co_firing, "share", statistics.co_firing[row]),
        column("energy", "energy", energy, "number", statistics.energy[row], log=True),
        column("largest", "largest code", "in any natural picture", "number", statistics.quantiles[row, :, -1]),
    ]


def picture_columns(run: int, name: str, rendered: Sequence[RenderedObjective | None], alone: bool) -> list[Column]:
    """The verification of a run's pictures; empty where none was verified.

    Args:
        run: its number on the page.
        name: its name, part of the labels unless it is alone.
        rendered: what was drawn of each card in this run.
        alone: whether the page shows no other run.
    """
    run_suffix = "" if alone else f" ({name})"
    columns = [
        Column(
            f"{figure}.{run}",
            f"drawn: {label}{run_suffix}",
            description,
            kind,
            [None if objective is None else value_of(objective) for objective in rendered],
        )
        for figure, (label, description, kind, value_of) in FIGURES_OF_PICTURES.items()
    ]
    return [column for column in columns if any(value is not None for value in column.values)]


def transfer(objective: RenderedObjective) -> float | None:
    """Mean, over the pictures drawn for one backbone, of strength through each other one / strength through its own."""
    shares: list[float] = []
    for picture in objective.pictures:
        scores = picture.metadata.scores
        if scores is None or len(scores.drawn_for) != 1 or scores.drawn_for[0] not in scores.backbones:
            continue
        own_strength = scores.backbones[scores.drawn_for[0]].strength
        others = [score.strength for name, score in scores.backbones.items() if name != scores.drawn_for[0]]
        if own_strength > 0 and others:
            shares.append(sum(others) / len(others) / own_strength)
    return round(sum(shares) / len(shares), 4) if shares else None


def _weakest(objective: RenderedObjective, figure: str) -> float | None:
    """The least of a figure of its pictures, in the backbones that they were drawn for; a class has no code."""
    values = [value for picture in objective.pictures for value in _figures(picture, figure)]
    return _rounded(min(values)) if values else None


def _figures(picture: RenderedImage, figure: str) -> list[float]:
    scores = picture.metadata.scores
    if scores is None:
        return []
    drawn_for = [scores.backbones[name] for name in scores.drawn_for if name in scores.backbones]
    return [value for score in drawn_for if (value := getattr(score, figure, None)) is not None]


def _seed_agreement(objective: RenderedObjective) -> float | None:
    cosines = objective.seed_agreement.values()
    return _rounded(sum(cosines) / len(cosines)) if cosines else None


def _rounded(value: float) -> float | None:
    """Four significant figures are more than the page shows."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


# {figure: what it is called, what it is, of which kind, and how it is computed for an objective}
FIGURES_OF_PICTURES: dict[str, tuple[str, str, ColumnKind, Callable[[RenderedObjective], float | None]]] = {
    "code": (
        "code",
        "in the backbone it was drawn for; the weakest of its pictures",
        "number",
        partial(_weakest, figure="code"),
    ),
    "probability": (
        "probability",
        "of its class, through the backbone it was drawn for; the lowest of its pictures",
        "share",
        partial(_weakest, figure="probability"),
    ),
    "percentile": (
        "percentile",
        "of that code among natural pictures; the lowest of its pictures",
        "percent",
        partial(_weakest, figure="percentile"),
    ),
    "transfer": (
        "transfer",
        "code or probability of a picture through the other backbones as a share of that through its own, mean",
        "share",
        transfer,
    ),
    "agreement": ("seeds agree", "cosine of the codes of pictures from different seeds", "share", _seed_agreement),
}
