"""The statistics that concepts are listed, ordered and chosen by: those that a USAE has, or why it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usae_train.runtime.errors import UsageError

if TYPE_CHECKING:
    from usae_train.model.statistics import Statistics
    from usae_train.model.usae import USAE


def need_statistics(usae: USAE) -> Statistics:
    """The USAE's statistics.

    Raises:
        ValueError: when it has none.
    """
    if usae.statistics is None:
        raise UsageError("this USAE has no statistics; fit it on pictures, which measures them")
    return usae.statistics


def need_statistic(usae: USAE, by: str) -> Statistics:
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
