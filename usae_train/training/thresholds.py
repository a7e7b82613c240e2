"""Thresholds of a sparsity that has some: where they start, how they move, what a USAE keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.sampling import drawn_numbers
from usae_train.tokens.feeding import Feed
from usae_train.tokens.standardization import without_outliers

THRESHOLD_TOKENS = 4096  # tokens from which thresholds start
FOLLOW_TOKENS = 64  # tokens of a step by which a running threshold moves


def threshold_sample(
    usae: USAE, feed: Feed, rows: Tensor, trained: Sequence[str], outliers: Mapping[str, float]
) -> dict[str, Tensor]:
    """Raw tokens of the trained backbones, drawn from `rows`, where the sparsity has thresholds to set by them.

    Args:
        usae: the model that is trained.
        feed: its tokens.
        rows: rows of the feed; drawn, for they follow a picture's grid, and even steps would see only some columns.
        trained: names of backbones.
        outliers: {backbone: norm above which a token is an outlier, left out here as in training}; empty where none is.
    """
    if not usae.thresholds:
        return {}
    sample = feed.pick(rows[drawn_numbers(len(rows), THRESHOLD_TOKENS)])
    if outliers:
        sample = without_outliers(sample, outliers)
    return {name: tokens for name, tokens in sample.items() if name in trained}


@torch.no_grad()
def set_thresholds(usae: USAE, sample: Mapping[str, Tensor], finished: bool) -> None:
    """Set where thresholds start, or when training is over, what a USAE keeps: from tokens as they are encoded then."""
    for name, tokens in sample.items():
        threshold, encoder = usae.thresholds[name].data, usae.encoder(name)
        was_training = encoder.training
        pre_codes = encoder.train(not finished)(usae.standardize(name, tokens.to(threshold.device).float()))
        encoder.train(was_training)
        (usae.sparsity.finish if finished else usae.sparsity.start)(threshold, pre_codes, usae.k)


@torch.no_grad()
def follow_thresholds(
    usae: USAE, batch: Mapping[str, Tensor], stepping: Sequence[str], ranks: DistributedContext
) -> None:
    """Let the sparsity move the thresholds of the pairs that stepped, by a few tokens without noise."""
    for name in stepping if usae.sparsity.follows else ():
        spaced = max(1, -(-len(batch[name]) // FOLLOW_TOKENS))
        encoder = usae.encoder(name)
        pre_codes = encoder.eval()(batch[name][::spaced])  # BatchNorm as it will be used
        encoder.train()
        usae.sparsity.follow(usae.thresholds[name].data, pre_codes, usae.k, ranks)
