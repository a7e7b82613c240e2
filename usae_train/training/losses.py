"""Losses of the USAE: pure functions of standardized tokens (tokens, width)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def absolute_error(tokens: Tensor, decoded: Tensor) -> Tensor:
    """Mean |a - â| over tokens and features, as the authors' code (their paper writes a Frobenius norm)."""
    return functional.l1_loss(decoded, tokens)


def squared_error(tokens: Tensor, decoded: Tensor) -> Tensor:
    """Mean (a - â)^2 over tokens and features."""
    return functional.mse_loss(decoded, tokens)


def own_weights(sources: Tensor | None, backbone: int, weight: float) -> Tensor | None:
    """(tokens,): the weight of each token in a backbone's error; None where all count the same.

    Args:
        sources: (tokens,), number of the backbone that encoded each token; None where all count the same.
        backbone: number of the backbone that is decoded to.
        weight: for tokens that it encoded itself.
    """
    return None if sources is None else torch.where(sources == backbone, weight, 1.0)


def dead_error(residual: Tensor, revived: Tensor, whole: Callable[[Tensor], Tensor] = lambda mean: mean) -> Tensor:
    """How badly dead concepts alone explain the residual (Gao et al. 2024, appendix A.2).

    Args:
        residual: (tokens, width), tokens minus what living concepts explain; without a gradient.
        revived: (tokens, width), what the largest dead concepts explain.
        whole: turns a mean over these tokens into one over the whole batch, of which they may be a part.

    Returns:
        The squared error as a share of the residual's mean square; 0 where there is no residual.
    """
    scale = whole(residual.square().mean()).clamp_min(1e-8)
    return ((residual - revived).square().mean() / scale).nan_to_num(0.0)
