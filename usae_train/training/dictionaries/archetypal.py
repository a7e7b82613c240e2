"""Archetypal dictionaries (Fel et al. 2025, arXiv 2502.12892): rows are convex mixtures of tokens plus a bounded rest.

The paper mixes all of some thousands of centroids: another matrix, concepts x centroids. Here a row mixes
a few tokens: those nearest to where it starts, over all backbones, and the same patches in all of them, so that a
concept stays anchored in the same places whichever backbone shows them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from usae_train.training.dictionaries.variant import DictionaryKind, Rows
from usae_train.training.kernels.products import product_dtype
from usae_train.training.kernels.sparse_ops import entries_of, sampled_dot

POOL_FACTOR = 2  # times as many tokens as concepts to mix; the nearest of many are all alike
MIN_LENGTH = 1e-12  # of a row, that its gradient is divided by
CONCEPTS_CHUNK_SIZE = 1024  # concepts compared with the pool at a time


class Archetypal(DictionaryKind):
    """Mixtures of `tokens` tokens, and a rest that is no longer than `rest` times a row."""

    kind: Literal["archetypal"] = "archetypal"
    tokens: int = Field(8, ge=1)
    rest: float = Field(0.5, ge=0)

    def rows(self, name: str, starts: Mapping[str, Tensor], pool: Mapping[str, Tensor], unit_norm: bool) -> Rows:
        """With the nearest tokens of the pool, and the one that the row starts at."""
        neighbours = nearest(starts, pool, self.tokens - 1)
        candidates = functional.normalize(pool[name][: POOL_FACTOR * len(neighbours)], dim=-1)
        first = torch.arange(len(neighbours), device=neighbours.device)[:, None]
        points, support = torch.cat([starts[name], candidates]), torch.cat([first, neighbours + len(neighbours)], 1)
        empty = (starts[name] == 0).all(1, keepdim=True)  # another backbone's own concepts: they stay zero
        return Mixtures(*in_order_of_use(points, torch.where(empty, first, support)), self.rest, unit_norm)


def in_order_of_use(points: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """Points (points, width), those of the first concepts first, and support (n_concepts, mixed) that names them so.

    A step that goes through the concepts then finds most of them side by side in memory.
    """
    uses = torch.arange(support.numel(), device=support.device)
    first = uses.new_full((len(points),), support.numel()).scatter_reduce(0, support.flatten(), uses, "amin")
    order = first.argsort(stable=True)
    return points[order], order.argsort()[support]


def nearest(starts: Mapping[str, Tensor], pool: Mapping[str, Tensor], count: int) -> Tensor:
    """(n_concepts, count): which tokens of the pool are nearest to each row, by the mean cosine over backbones."""
    n_concepts = len(next(iter(starts.values())))
    rows = torch.cat([functional.normalize(matrix, dim=-1) for matrix in starts.values()], 1)
    candidates = torch.cat([functional.normalize(pool[name][: POOL_FACTOR * n_concepts], dim=-1) for name in starts], 1)
    parts = [
        (part @ candidates.T).topk(min(count, len(candidates)), dim=-1).indices
        for part in rows.split(CONCEPTS_CHUNK_SIZE)
    ]
    return torch.cat(parts)


class Mixtures(Rows):
    """length * (softmax(mixing) of a row's points + rest), the rest no longer than its bound.

    Args:
        points: (points, width), of norm 1.
        support: (n_concepts, mixed), which of them a row mixes; the first is the one that it starts at.
        bound: of the rest's norm.
        unit_norm: rows are divided by their norm, and have no length of their own.
    """

    points: Tensor
    support: Tensor
    read_points: Tensor

    def __init__(self, points: Tensor, support: Tensor, bound: float, unit_norm: bool) -> None:
        super().__init__()
        self.bound, self.unit_norm = bound, unit_norm
        self.register_buffer("points", points)
        self.register_buffer("support", support)
        # rows are mixed from these, in half the time where products are in bfloat16
        self.register_buffer("read_points", points.to(product_dtype(points.device)), persistent=False)
        start = points.new_zeros(support.shape)
        start[:, 0] = math.log(4 * support.shape[1])  # four fifths of a row are the token that it starts at
        self.mixing = nn.Parameter(start)
        self.length = None if unit_norm else nn.Parameter(points.new_ones(len(support)))

    def mixed(self) -> Tensor:
        """(n_concepts, width), the convex mixtures."""
        return _mixtures(self.mixing.softmax(-1), self.read_points, self.support)

    def forward(self, rest: Tensor) -> Tensor:
        if self.length is None:
            return functional.normalize(self.mixed() + rest, dim=-1)
        lengths = self.length.abs()[:, None]
        weights = self.mixing.softmax(-1)
        rows: Tensor = _Rows.apply(weights, rest, lengths, self.points, self.read_points, self.support)
        return rows

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        self.read_points.copy_(self.points)

    def right_inverse(self, rows: Tensor) -> Tensor:
        """No rest."""
        return torch.zeros_like(rows)

    @torch.no_grad()
    def project(self, original: Tensor) -> None:
        """A rest that grew longer is cut to its bound."""
        original.mul_((self.bound / original.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0))


def _mixtures(weights: Tensor, points: Tensor, support: Tensor) -> Tensor:
    """(n_concepts, width): sums of points (points, width), those of `support`, weighted; both (n_concepts, mixed).

    With points in bfloat16 the sum is rounded once, and then converted to float32.
    """
    return functional.embedding_bag(support, points, per_sample_weights=weights.to(points.dtype), mode="sum").float()


class _Rows(torch.autograd.Function):
    """(mixtures + rest) * lengths, in the memory of one matrix: a second one would be many pages that the
    kernel has to clear.

    6144 x 768 rows take 14 ms this way instead of 25. A gradient can be taken once: the rows' memory
    becomes the rest's gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor,
        rest: Tensor,
        lengths: Tensor,
        points: Tensor,
        read_points: Tensor,
        support: Tensor,
    ) -> Tensor:
        rows = _mixtures(weights, read_points, support).add_(rest).mul_(lengths)
        ctx.save_for_backward(rows, lengths, points, support)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        rows, lengths, points, support = ctx.saved_tensors
        to_lengths = rows.mul_(gradient).sum(1, keepdim=True) / lengths.clamp_min(MIN_LENGTH)
        to_rest = torch.mul(gradient, lengths, out=rows)
        of_row = torch.arange(len(support), device=support.device).repeat_interleave(support.shape[1])
        mixed = entries_of(support.flatten(), of_row, len(support), len(points))
        to_weights = sampled_dot(mixed, to_rest, points, many=True).view_as(support)
        return to_weights, to_rest, to_lengths, None, None, None
