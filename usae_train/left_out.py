"""The published auxiliary term's codes: what TopK left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def left_out_half(pre_codes: Tensor, kept: Tensor) -> Tensor:
    """Of the codes that TopK left out, the largest, half as many as concepts; without a gradient.

    Args:
        pre_codes: (tokens, n_concepts).
        kept: (tokens, k) the concepts that TopK kept.

    Returns:
        (tokens, n_concepts): with half of them not zero there is nothing to gain from keeping them sparse.
    """
    rank = kept.shape[1] + pre_codes.shape[1] // 2  # counted from above, the kept included
    floor = largest(pre_codes, rank).clamp_min(torch.finfo(pre_codes.dtype).tiny)
    return pre_codes.where(pre_codes >= floor, 0.0).scatter_(1, kept, 0.0)


def largest(numbers: Tensor, rank: int) -> Tensor:
    """(rows, 1): the rank-th largest of each row of (rows, columns); the smallest when there are fewer."""
    place = max(0, numbers.shape[1] - rank)
    if numbers.device.type != "cpu":
        return numbers.kthvalue(place + 1, dim=1, keepdim=True).values
    # 66 ms for (1568, 6144), torch's topk 352
    return torch.from_numpy(np.partition(numbers.numpy(), place, axis=1)[:, place : place + 1])


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_codes: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        values, left = pre_codes.gather(1, kept).relu_(), left_out_half(pre_codes, kept)
        ctx.save_for_backward(kept, values, left)
        return values, left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_values: Tensor, to_left: Tensor) -> tuple[Tensor, None]:
        kept, values, left = ctx.saved_tensors
        return to_left.where(left > 0, 0.0).scatter_(1, kept, to_values.where(values > 0, 0.0)), None


def kept_and_left_out(pre_codes: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The codes that TopK kept, (tokens, k), and `left_out_half`, with one gradient for both."""
    return _Split.apply(pre_codes, kept)
