"""Sums over a step's (token, concept) entries: what training needs of tokens x concepts, without the dense matrix.

Three products carry the training:

    decode         a token's sum of its concepts' atoms, weighted by the codes             -> (segments, width)
    transpose      a concept's sum of its tokens, weighted: the gradient of all tables     -> (n_concepts, width)
    sampled_dot    the inner product of an entry's token and its concept's row: the codes' gradient

The first two are torch's embedding_bag, the third is embedding_bag's gradient for its weights. Tables of
concepts do not fit into a core's cache and a token's row does, so that work is done in the concepts' order where it can
be: inner products take 6 ms this way and 20 ms in the tokens' order (1568 tokens, k = 32, 6144 x 768, one core of an
EPYC), and each is the same to the bit in any order. Where a token has five times as many entries, most of which only
have a gradient for their threshold, torch's sparse matrices are used: 20 ms instead of 27, with other last bits.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

NORM_FLOOR = 1e-12  # as torch.nn.functional.normalize


class Entries(NamedTuple):
    """The (segment, concept) pairs of a step; a segment is a sum that is wanted: a token's, or a part of a token's.

    Attributes:
        concepts: (entries,) int.
        segments: (entries,) int, ascending.
        segment_starts: (n_segments,) an entry where each segment begins.
        order: (entries,) the entries in the order of their concepts.
        ordered_concepts: (entries,) `concepts` in that order.
        ordered_segments: (entries,) `segments` in that order.
        concept_starts: (n_concepts,) where in that order each concept begins.
        n_concepts: how many there are.
    """

    concepts: Tensor
    segments: Tensor
    segment_starts: Tensor
    order: Tensor
    ordered_concepts: Tensor
    ordered_segments: Tensor
    concept_starts: Tensor
    n_concepts: int


def entries_of(concepts: Tensor, segments: Tensor, n_segments: int, n_concepts: int) -> Entries:
    """Sort (segment, concept) pairs both ways.

    Args:
        concepts: (entries,) int.
        segments: (entries,) int, ascending.
        n_segments: how many segments there are, empty ones included.
        n_concepts: how many concepts there are.
    """
    order = stable_order(concepts, n_concepts)
    ordered_concepts = concepts.index_select(0, order)
    return Entries(
        concepts,
        segments,
        first_of_each(segments, n_segments),
        order,
        ordered_concepts,
        segments.index_select(0, order),
        first_of_each(ordered_concepts, n_concepts),
        n_concepts,
    )


class NonzeroEntries(NamedTuple):
    """Entries whose weight is not 0: a weighted sum needs no others.

    Attributes:
        places: (nonzero,) which of all entries they are.
        entries: only these.
    """

    places: Tensor
    entries: Entries


def nonzero_entries(entries: Entries, weights: Tensor) -> NonzeroEntries:
    """Those of the entries whose weight (entries,) is not 0.

    At the paper's size more than half of JumpReLU's entries only have a gradient for their threshold.
    """
    places = weights.nonzero().squeeze(1)
    concepts, segments = (indices.index_select(0, places) for indices in (entries.concepts, entries.segments))
    return NonzeroEntries(places, entries_of(concepts, segments, len(entries.segment_starts), entries.n_concepts))


def first_of_each(ordered: Tensor, count: int) -> Tensor:
    """(count,): where in ascending numbers (entries,) below `count` each of 0 ... count - 1 begins, or would."""
    if ordered.device.type == "cpu":
        counts = ordered.bincount(minlength=count)
        return counts.cumsum(0) - counts
    # bincount would wait for a GPU, to find the largest number
    return torch.searchsorted(ordered, torch.arange(count, device=ordered.device, dtype=ordered.dtype))


def stable_order(concepts: Tensor, n_concepts: int) -> Tensor:
    """(entries,): what sorts concepts (entries,) in [0, n_concepts), equal ones in the order they have."""
    if concepts.device.type == "cpu" and n_concepts <= 2**16 and not torch.compiler.is_compiling():
        # numpy counts 16-bit numbers: 0.07 ms for a third of a step's entries, 0.20 for all; torch 0.78, 0.43
        return torch.from_numpy(concepts.numpy().astype(np.uint16).argsort(kind="stable"))
    return concepts.sort(stable=True).indices


def decode(entries: Entries, weights: Tensor, table: Tensor) -> Tensor:
    """(n_segments, width): a segment sums its concepts' rows of `table` (n_concepts, width), weighted (entries,)."""
    return functional.embedding_bag(
        entries.concepts, table.detach(), entries.segment_starts, per_sample_weights=weights, mode="sum"
    )


def transpose(entries: Entries, weights: Tensor, table: Tensor) -> Tensor:
    """(n_concepts, width): a concept sums its segments' rows of `table` (n_segments, width), weighted (entries,)."""
    weights = weights.index_select(0, entries.order)  # 0.03 ms, weights[entries.order] 0.12
    return functional.embedding_bag(
        entries.ordered_segments, table, entries.concept_starts, per_sample_weights=weights, mode="sum"
    )


def sampled_dot(entries: Entries, by_segment: Tensor, by_concept: Tensor, many: bool = False) -> Tensor:
    """(entries,): inner products of segments' rows (n_segments, width) and concepts' rows (n_concepts, width).

    `many`: use torch's sparse matrices where that is faster; the last bits differ.
    """
    if many and by_segment.device.type == "cpu" and not torch.compiler.is_compiling():
        ordered = _products_in_rows(entries, by_segment, by_concept)
    else:
        ordered = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            by_segment, by_concept, entries.ordered_concepts, entries.segment_starts, entries.ordered_segments, 0
        )
    return torch.empty_like(ordered).scatter_(0, entries.order, ordered)


def _products_in_rows(entries: Entries, by_segment: Tensor, by_concept: Tensor) -> Tensor:
    """(entries,) of `sampled_dot` in the concepts' order: those of by_concept @ by_segment.T, a sparse matrix."""
    _silence_beta_warning()
    starts = torch.cat([entries.concept_starts, entries.concept_starts.new_tensor([len(entries.order)])])
    zeros, shape = by_concept.new_zeros(len(entries.order)), (entries.n_concepts, len(entries.segment_starts))
    matrix = torch.sparse_csr_tensor(starts, entries.ordered_segments, zeros, shape, check_invariants=False)
    torch.sparse.sampled_addmm(matrix, by_concept, by_segment.T, beta=0.0, out=matrix)
    return matrix.values()


@cache
def _silence_beta_warning() -> None:
    """Let torch issue its only warning that sparse CSR matrices are in beta, unseen."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        torch.eye(1).to_sparse_csr()


class _ChosenPreCodes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pre_codes: Tensor,
        tokens: Tensor,
        weight: Tensor,  # noqa: ARG004  # it has a gradient
        bias: Tensor,  # noqa: ARG004
        entries: Entries,
        many_zeros: bool,
    ) -> Tensor:
        ctx.tokens, ctx.entries, ctx.many_zeros = tokens, entries, many_zeros
        return pre_codes.view(-1).index_select(0, entries.segments * entries.n_concepts + entries.concepts).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor, None, None]:
        entries = ctx.entries
        to_bias = gradient.new_zeros(entries.n_concepts).index_add_(0, entries.concepts, gradient)
        if ctx.many_zeros:
            places, entries = nonzero_entries(entries, gradient)
            gradient = gradient.index_select(0, places)
        return None, None, transpose(entries, gradient, ctx.tokens), to_bias, None, None


def chosen_pre_codes(
    pre_codes: Tensor, tokens: Tensor, weight: Tensor, bias: Tensor, entries: Entries, many_zeros: bool = False
) -> Tensor:
    """The entries (entries,) of pre-codes, in float32; the gradient goes to `weight` and `bias`, not to `tokens`.

    In bfloat16 they are right to 0.4%, which R² does not show; multiplying them again took 8 ms of a step of 230.

    Args:
        pre_codes: (n_segments, n_concepts), tokens @ weight.T + bias, at any precision.
        tokens: (n_segments, width).
        weight: (n_concepts, width).
        bias: (n_concepts,).
        entries: which pre-codes are wanted.
        many_zeros: whether many of them have no gradient; the result is the same, but for last bits.
    """
    chosen: Tensor = _ChosenPreCodes.apply(pre_codes, tokens, weight, bias, entries, many_zeros)
    return chosen


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, entries: Entries, divide: bool, firing: NonzeroEntries | None
    ) -> Tensor:
        inverse = None
        if divide:
            inverse = torch.linalg.vector_norm(weight, dim=1).clamp_min(NORM_FLOOR).reciprocal()
            values = values * inverse.index_select(0, entries.concepts)
        ctx.save_for_backward(values, weight, inverse)
        ctx.entries, ctx.firing = entries, firing
        if firing is not None:
            return decode(firing.entries, values.index_select(0, firing.places), weight)
        return decode(entries, values, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        values, weight, inverse = ctx.saved_tensors
        entries, firing, gradient = ctx.entries, ctx.firing, gradient.contiguous()
        to_values, to_weight = sampled_dot(entries, gradient, weight, many=firing is not None), None
        if ctx.needs_input_grad[1]:
            summed = (entries, values) if firing is None else (firing.entries, values.index_select(0, firing.places))
            to_weight = transpose(*summed, gradient)
        if inverse is None:
            return to_values, to_weight, None, None, None
        if to_weight is not None:  # an atom's length is fixed: the part of the gradient along it is removed
            along = torch.zeros_like(inverse).scatter_add_(0, entries.concepts, values * to_values)
            to_weight.addcmul_(weight, (along * inverse.square())[:, None], value=-1)
        return to_values * inverse.index_select(0, entries.concepts), to_weight, None, None, None


def decode_entries(
    values: Tensor, weight: Tensor, entries: Entries, divide: bool = True, firing: NonzeroEntries | None = None
) -> Tensor:
    """(n_segments, width): each segment's sum of its concepts' atoms.

    The same as `sparse_decode` on the matrix of atoms, which is never made.

    Args:
        values: (entries,) codes.
        weight: (n_concepts, width), the rows that the atoms are made from.
        entries: which concept goes into which segment.
        divide: an atom is a row divided by its norm; otherwise the row as it is.
        firing: those whose code is not 0, where many are 0; the result is the same, but for gradients' last bits.
    """
    tokens: Tensor = _Decode.apply(values, weight, entries, divide, firing)
    return tokens
