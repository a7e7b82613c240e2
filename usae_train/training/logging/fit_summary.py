"""What `ut.fit` says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from usae_train.evaluation.metrics import mean_on_and_off
from usae_train.model.usae import USAE
from usae_train.runtime.printing import plural


def fitted_lines(usae: USAE, metrics: Mapping[str, Any]) -> list[str]:
    """R² on the last batch, and how many concepts are alive.

    Args:
        usae: the trained USAE.
        metrics: the last ones that the training gave.
    """
    heads = f"{plural(usae.n_concepts, 'concept')} over {', '.join(usae.names)}"
    return ["; ".join([heads, *r2_lines(metrics)]), *alive_lines(usae)]


def r2_lines(metrics: Mapping[str, Any]) -> list[str]:
    """R² on the last batch; nothing where the metrics have none."""
    if "r2" not in metrics:
        return []
    on, off = mean_on_and_off(metrics["r2"])
    across = "" if off is None else f", of the others {off:.2f}"
    return [f"R² of a backbone's own tokens {on:.2f}{across} (last batch, around each feature's mean)"]


def alive_lines(usae: USAE) -> list[str]:
    """How many concepts fire; nothing without statistics."""
    return [] if usae.statistics is None else [usae.statistics.alive_in_words]


def next_lines(usae: USAE) -> list[str]:
    """What to do next with a USAE that is in memory only."""
    in_memory = "in memory only: ut.save(usae, FOLDER) keeps it"
    if not usae.specs:
        return [f"{in_memory}; ut.r2_matrix(usae, HELD_OUT_TOKENS) says how good it is"]
    return [f"{in_memory}; ut.evaluate(usae, HELD_OUT) says how good it is; uv.maximize(usae, uv.Concept(0)) draws"]
