"""What a training reports while it runs: losses and R² of every pair of backbones, and its speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.metrics import Matrix
from usae_train.model.firing import dead_counts
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.transfers import read_numbers
from usae_train.training.losses import squared_error

DEFAULT_LOG_COUNT = 100  # how many times a training logs metrics by default
MAX_LOSS = 1e4  # standardized tokens have a mean square of 1: a loss ten thousand times the loss of explaining nothing


@torch.no_grad()
def pair_metrics(
    usae: USAE,
    batch: Mapping[str, Tensor],
    error: Callable[[Tensor, Tensor], Tensor],
    ranks: DistributedContext = SINGLE_PROCESS,
) -> dict[str, Matrix]:
    """Every backbone's codes decoded by every dictionary, as the USAE would do it if it were saved now.

    Args:
        usae: the model; put into evaluation mode meanwhile (BatchNorm as it will be used), and then back.
        batch: {backbone: standardized tokens (tokens, width)}.
        error: the recipe's loss of a pair: tokens, decoded -> scalar.
        ranks: who has the other parts of the batch.

    Returns:
        {"pair_loss": {from: {to: error}}, "r2": {from: {to: R² around each feature's mean, in raw units}}}.
    """
    modes = [(module, module.training) for module in usae.modules()]
    usae.eval()
    raw = {name: usae.scale(name).inverse(tokens) for name, tokens in batch.items()}
    spread = {n: ranks.mean((tokens - ranks.mean(tokens.mean(0))).square().mean()) for n, tokens in raw.items()}
    metrics: list[Tensor] = []
    for source in batch:
        codes = usae.sparsify(source, usae.encoder(source)(batch[source]))
        decoded = {target: usae.decoder(target)(codes) for target in batch}
        losses = ranks.mean(torch.stack([error(batch[target], tokens) for target, tokens in decoded.items()]))
        raw_errors = [
            squared_error(raw[target], usae.scale(target).inverse(tokens)) for target, tokens in decoded.items()
        ]
        left = ranks.mean(torch.stack(raw_errors))
        shares = left / torch.stack([spread[target] for target in decoded]).clamp_min(torch.finfo(left.dtype).tiny)
        metrics += [losses, 1 - shares]
    for module, training in modes:
        module.training = training
    names, rows = list(batch), read_numbers(*metrics)
    matrices = [[dict(zip(names, row, strict=True)) for row in rows[kind::2]] for kind in (0, 1)]
    return {
        kind: dict(zip(names, matrix, strict=True)) for kind, matrix in zip(("pair_loss", "r2"), matrices, strict=True)
    }


def dead_of(usae: USAE) -> dict[str, float]:
    """{backbone: share of its concepts that never fire on the pictures of the statistics}."""
    if usae.statistics is None:  # an older folder may have none
        return dict.fromkeys(usae.names, math.nan)
    counts = usae.private.counts()
    return {name: dead / counts[name] for name, dead in dead_counts(usae, usae.statistics).items()}


def is_sound(loss: float) -> bool:
    """Whether a pair's loss is finite and has not exploded."""
    return math.isfinite(loss) and loss < MAX_LOSS


def unsound_pairs(pair_loss: Matrix) -> str:
    """The pairs whose loss is not sound, for a message: `vit -> dino, vit -> vit`; empty when there are none."""
    return ", ".join(f"{s} -> {t}" for s, row in pair_loss.items() for t, loss in row.items() if not is_sound(loss))


def flat_metrics(metrics: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """Nested metrics under one name each: {"r2": {"a": {"b": 0.5}}} -> {"r2/a/b": 0.5}."""
    flattened: dict[str, float] = {}
    for name, value in metrics.items():
        flattened |= (
            flat_metrics(value, f"{before}{name}/") if isinstance(value, Mapping) else {f"{before}{name}": float(value)}
        )
    return flattened


class Speed:
    """Tokens per second since it was last read."""

    def __init__(self) -> None:
        self._then, self._tokens = time.perf_counter(), 0

    def add(self, tokens: int) -> None:
        """Count further tokens that were trained on."""
        self._tokens += tokens

    def take(self) -> float:
        """Tokens per second; starts counting again."""
        now = time.perf_counter()
        speed = self._tokens / max(now - self._then, 1e-9)
        self._then, self._tokens = now, 0
        return speed
