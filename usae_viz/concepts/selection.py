"""Which concepts a recipe draws: numbers, ranges, labels, patterns, and the first, last or some of an order."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from usae_train.files.validation import FrozenModel
from usae_train.model.outline import UsaeDescription
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_viz.concepts.labels import Label
from usae_viz.concepts.parsing import check_concepts, one_concept, parse_concepts
from usae_viz.concepts.ranking import by_universality
from usae_viz.concepts.required_statistics import need_statistic, need_statistics

if TYPE_CHECKING:
    from torch import Tensor

    from usae_train.model.usae import USAE

Statistic = Literal["universality", "energy", "entropy", "fires", "co_fires", "auroc", "agreement"]


class Selection(FrozenModel):
    """Concepts by a statistic: `top: 64`, or `spread: 12`, `by: energy`, `backbone: dino`."""

    top: int | None = Field(None, ge=1, description="how many, the largest first")
    bottom: int | None = Field(None, ge=1, description="how many, the smallest first")
    spread: int | None = Field(None, ge=2, description="how many, evenly spread from the largest to the smallest")
    by: Statistic = Field("universality", description="the statistic that orders them")
    backbone: str | None = Field(
        None, description="this backbone's figure (energy, fires, auroc); energy: the mean, others: the smallest of all"
    )
    minus: str | None = Field(None, description="less this backbone's figure: what `backbone` has and this one lacks")
    min_fires: float = Field(
        0.0,
        ge=0,
        le=1,
        description="only concepts that fire in at least this share of the tokens, in the backbone with most fires",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Selection:
        given_keys = [key for key in ("top", "bottom", "spread") if getattr(self, key) is not None]
        if len(given_keys) != 1:
            raise UsageError(f"expected one of top, bottom and spread, found {' and '.join(given_keys) or 'none'}")
        if self.minus is not None and self.backbone is None:
            raise UsageError("minus is subtracted from a backbone's figure: say which with `backbone`")
        if self.backbone is not None and self.by not in ("energy", "fires", "auroc"):
            raise UsageError(f"{self.by} is not a figure of one backbone; expected energy, fires or auroc")
        return self


def select(usae: USAE, item: int | str | Selection, labels: Sequence[Label] | None = None) -> list[int]:
    """The concepts that one entry of a recipe's list means: an index, a text for `parse_concepts`, a `Selection`.

    Raises:
        ValueError: for concepts, labels or figures that the USAE does not have.
    """
    if isinstance(item, Selection):
        return _by_statistic(usae, item)
    if isinstance(item, str):
        return parse_concepts(usae, item, labels)
    return [one_concept(usae, item)]


def check_selected(usae: UsaeDescription, item: int | str | Selection, labels: Sequence[Label]) -> None:
    """Raise a ValueError as `select`, where no statistics are needed."""
    if isinstance(item, Selection):
        for backbone in (item.backbone, item.minus):
            if backbone is not None:
                usae.check_backbone(backbone)
    else:
        check_concepts(usae, str(item), labels)


def statistic_values(usae: USAE, by: Statistic, backbone: str | None = None) -> Tensor:
    """(concepts,): a statistic of each concept, minus infinity where it is not defined; of one backbone, or of all.

    Of all, energy is the mean over the backbones, fires (share of the tokens) and auroc (of the factor value that is
    followed best) the smallest.

    Raises:
        ValueError: for a USAE without the statistics, or an unknown backbone.
    """
    statistics = need_statistic(usae, by)
    rows = slice(None) if backbone is None else [usae.names.index(usae.check_backbone(backbone))]
    if by == "auroc":
        assert statistics.auroc is not None
        values = statistics.auroc[rows].amin(0).nan_to_num(0.0).amax(0)
    elif by == "agreement":
        assert usae.agreement is not None
        values = usae.agreement
    elif by == "energy":
        values = statistics.energy[rows].mean(0)
    elif by == "fires":
        values = statistics.firing_share[rows].amin(0)
    else:
        values = {
            "universality": statistics.universality,
            "entropy": statistics.firing_entropy,
            "co_fires": statistics.co_fires,
        }[by]
    return values.double().nan_to_num(-inf)


def _by_statistic(usae: USAE, selection: Selection) -> list[int]:
    values = statistic_values(usae, selection.by, selection.backbone)
    if selection.minus is not None:
        values = values - statistic_values(usae, selection.by, selection.minus)
    firing = need_statistics(usae).firing_share.amax(0)
    enough = [k for k in by_universality(need_statistics(usae)) if firing[k] >= selection.min_fires]
    order = sorted(enough, key=lambda k: -values[k].item())  # stable: equal ones by universality
    count = selection.top or selection.bottom or selection.spread
    assert count is not None
    if count > len(order):
        which = f" fire in {selection.min_fires:.3g} of the tokens" if selection.min_fires else ""
        raise UsageError(
            f"{plural(count, 'concept')} by {selection.by}: there are only {len(order)} that can be chosen{which}"
        )
    if selection.spread is not None:
        return [order[round(place * (len(order) - 1) / (count - 1))] for place in range(count)]
    return order[:count] if selection.top is not None else order[::-1][:count]
