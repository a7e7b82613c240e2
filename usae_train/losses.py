"""Losses of the USAE: pure functions of standardized tokens (tokens, width)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from usae_train.sparse import Codes, sparse_decode


def absolute_error(tokens: Tensor, decoded: Tensor) -> Tensor:
    """Mean |a - â| over tokens and features, as the authors' code (their paper writes a Frobenius norm)."""
    return (tokens - decoded).abs().mean()


def squared_error(tokens: Tensor, decoded: Tensor) -> Tensor:
    """Mean (a - â)^2 over tokens and features."""
    return (tokens - decoded).square().mean()


def left_out_half(pre_codes: Tensor, k: int) -> Codes:
    """The published auxiliary codes: of the codes that TopK left out, the largest, half as many as concepts.

    Args:
        pre_codes: (tokens, n_concepts).
        k: concepts that TopK kept.
    """
    kept = pre_codes.topk(k, dim=-1).indices
    rest = pre_codes.relu().scatter(-1, kept, 0.0)
    values, indices = rest.topk(pre_codes.shape[-1] // 2, dim=-1)
    return Codes(values, indices)


def left_out_error(tokens: Tensor, decoded: Tensor, left_out: Codes, atoms: Tensor) -> Tensor:
    """How badly the left-out codes explain the residual, mean |residual - residualhat| (the authors' code)."""
    return absolute_error(tokens - decoded, sparse_decode(left_out, atoms))


def dead_error(
    tokens: Tensor, decoded: Tensor, pre_codes: Tensor, atoms: Tensor, dead: Tensor, k: int,
    whole: Callable[[Tensor], Tensor] = lambda mean: mean,
) -> Tensor:  # fmt: skip
    """How badly dead concepts alone explain the residual (Gao et al. 2024, appendix A.2); no gradient to the residual.

    Args:
        tokens: (tokens, width), standardized.
        decoded: what the living concepts make of them.
        pre_codes: (tokens, n_concepts).
        atoms: (n_concepts, width).
        dead: (dead,) indices; may be empty, and then the loss is 0.
        k: how many dead concepts a token may use, at most.
        whole: turns a mean over these tokens into that over the whole batch, when they are a part of it.
    """
    if len(dead) == 0:
        return tokens.new_zeros(())
    values, chosen = pre_codes[:, dead].topk(min(k, len(dead)), dim=-1)
    residual = (tokens - decoded).detach()
    explained = sparse_decode(Codes(values.relu(), dead[chosen]), atoms)
    return ((residual - explained).square().mean() / whole(residual.square().mean()).clamp_min(1e-8)).nan_to_num(0.0)


def r2(tokens: Tensor, decoded: Tensor) -> Tensor:
    """1 - squared error / variance around each feature's own mean: 1 is perfect, 0 is the mean token."""
    variance = (tokens - tokens.mean(0)).square().sum()
    return 1 - (tokens - decoded).square().sum() / variance.clamp_min(torch.finfo(tokens.dtype).tiny)
