"""The published auxiliary term's codes: what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def topk_complement(pre_codes: Tensor, chosen: Tensor) -> Tensor:
    """Of the codes that were left out, the largest, half as many as concepts; without a gradient.

    Args:
        pre_codes: (tokens, n_concepts).
        chosen: (entries,) what was kept: token * n_concepts + concept.

    Returns:
        (tokens, n_concepts): dense, for with half of them not zero a sparse form gains nothing.
    """
    left = pre_codes.reshape(-1).scatter(0, chosen, 0.0).view_as(pre_codes)
    half = pre_codes.shape[1] // 2
    crowded, tiny = (left > 0).sum(1) > half, torch.finfo(pre_codes.dtype).tiny
    if on_cpu(left):
        floor, rows = pre_codes.new_full((len(pre_codes), 1), tiny), crowded.nonzero().squeeze(1)
        if len(rows):  # after BatchNorm fewer than half of the tokens
            floor[rows] = largest(left[rows], half)
    else:  # reading which rows these are would wait for a GPU
        floor = torch.where(crowded[:, None], largest(left, half), tiny)
    # pre-codes are finite; `where` takes 55 ms for (1568, 6144), this 47 (one core of an EPYC)
    return left.mul_(left >= floor)


def on_cpu(tensor: Tensor) -> bool:
    """Whether numpy can read it where it is; torch.compile takes the GPU's branch, with the same results."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def largest(numbers: Tensor, rank: int) -> Tensor:
    """(rows, 1): the rank-th largest of each row of (rows, columns); the smallest when there are fewer."""
    place = max(0, numbers.shape[1] - rank)
    if not on_cpu(numbers):
        return numbers.kthvalue(place + 1, dim=1, keepdim=True).values
    # 66 ms for (1568, 6144), torch's topk 352
    return torch.from_numpy(np.partition(numbers.numpy(), place, axis=1)[:, place : place + 1])


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_codes: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        left = topk_complement(pre_codes, chosen)
        ctx.save_for_backward(chosen, left)
        return pre_codes.reshape(-1).gather(0, chosen), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_kept: Tensor, to_left: Tensor) -> tuple[Tensor, None]:
        chosen, left = ctx.saved_tensors
        # ReLU's backward: 22 ms for (1568, 6144), `where` 55
        gradient = torch.ops.aten.threshold_backward(to_left, left, 0)
        gradient.view(-1).scatter_(0, chosen, to_kept)
        return gradient, None


def split_at_top_k(pre_codes: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The pre-codes that were kept, (entries,), and `topk_complement`, with one gradient for both."""
    split: tuple[Tensor, Tensor] = _Split.apply(pre_codes, chosen)
    return split
