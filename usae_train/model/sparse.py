"""Sparse codes: TopK, and decoding without a dense tokens x concepts matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

GROUPS = (
    6,
    4,
)  # sizes of groups of concepts, and of groups of groups; among the fastest of 15 choices for 6144 and k = 32
BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


class Codes(NamedTuple):
    """Codes kept sparse: the k active concepts of each token.

    Attributes:
        values: (..., k), >= 0, in descending order. A token with fewer active concepts is padded with zeros. Where
            the sparsity has no fixed number, k is the largest number of any of these tokens.
        indices: (..., k), the concepts that the values belong to.
    """

    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        *tokens, slots = self.values.shape
        active = self.values[self.values > 0]
        size = f"{active.min().item():.3g} to {active.max().item():.3g}" if active.numel() else "none active"
        shape, kind = " x ".join(map(str, tokens)) or "1", str(self.values.dtype).removeprefix("torch.")
        words = f"{shape} tokens, {slots} concepts each at most; active codes {size}; {kind} on {self.values.device}"
        return f"Codes({words})"

    def dense(self, n_concepts: int) -> Tensor:
        """The same codes as (..., n_concepts)."""
        shape = (*self.values.shape[:-1], n_concepts)
        return self.values.new_zeros(shape).scatter(-1, self.indices, self.values)

    def of(self, concept: int) -> Tensor:
        """One concept's code (...): zero where TopK left it out."""
        return (self.values * (self.indices == concept)).sum(-1)


def top_k(pre_codes: Tensor, k: int) -> Codes:
    """ReLU, then the k largest of each token's pre-codes (Gao et al. 2024, section 2.3).

    Args:
        pre_codes: (..., n_concepts).
        k: how many to keep, at most n_concepts.
    """
    values, indices = pre_codes.topk(k, dim=-1)
    return Codes(values.relu(), indices)


def joined_codes(parts: Sequence[Codes]) -> Codes:
    """Codes of several batches as one, along their first dimension.

    Where a sparsity has no fixed number, those with fewer slots are padded with zeros of other concepts, so that a
    token names each concept once.
    """
    slots = max(part.values.shape[-1] for part in parts)
    filled = [part if part.values.shape[-1] == slots else _filled_up(part, slots) for part in parts]
    return Codes(torch.cat([part.values for part in filled]), torch.cat([part.indices for part in filled]))


def _filled_up(codes: Codes, slots: int) -> Codes:
    """The same codes in more slots (at most as many as there are concepts)."""
    shape, more = codes.values.shape[:-1], slots - codes.values.shape[-1]
    is_used = codes.values.new_zeros(*shape, slots + 1).scatter(-1, codes.indices.clamp_max(slots), 1.0)[..., :slots]
    free = is_used.topk(more, dim=-1, largest=False).indices.to(codes.indices.dtype)
    values = torch.cat([codes.values, codes.values.new_zeros(*shape, more)], -1)
    return Codes(values, torch.cat([codes.indices, free], -1))


def top_indices(pre_codes: Tensor, k: int, sizes: Sequence[int] = GROUPS) -> Tensor:
    """(tokens, k): the k largest of each token's pre-codes (tokens, n_concepts), in no order, ties either way.

    Where fewer than k are positive, any others fill up, and ReLU makes them zero. The bits of floats, read as integers,
    order positive numbers correctly and above all others, and compare faster. Pre-codes are finite; a NaN may be chosen
    or not.

    `sizes` are those of groups of concepts, of groups of groups, ...; without effect where the first does not divide
    n_concepts. 5.4 ms for (1568, 6144) in bfloat16, where torch's topk takes 13 (two cores of an EPYC; one thread 12
    and 26).
    """
    return _top_places(pre_codes.detach().view(BITS[pre_codes.dtype]), k, sizes)


def _top_places(numbers: Tensor, k: int, sizes: Sequence[int]) -> Tensor:
    """Where the k largest of each row are: in the k groups with the largest maxima, which are found in the same way."""
    n = numbers.shape[1]
    if not sizes or n % sizes[0] or n < 4 * sizes[0] * k:
        return numbers.topk(k, dim=-1, sorted=False).indices
    groups = n // sizes[0]
    best = _top_places(numbers.unflatten(1, (sizes[0], groups)).amax(1), k, sizes[1:])
    members = (best[:, None, :] + torch.arange(0, n, groups, device=numbers.device)[:, None]).flatten(1)
    return members.gather(1, numbers.gather(1, members).topk(k, dim=-1, sorted=False).indices)


def sparse_decode(codes: Codes, dictionary: Tensor) -> Tensor:
    """Sum of the active atoms, weighted by their codes; gradients reach the codes' values and the dictionary.

    Args:
        codes: values and indices, each (..., k).
        dictionary: (n_concepts, width).

    Returns:
        (..., width).
    """
    shape, k = codes.values.shape[:-1], codes.values.shape[-1]
    decoded = functional.embedding_bag(
        codes.indices.reshape(-1, k), dictionary, per_sample_weights=codes.values.reshape(-1, k), mode="sum"
    )
    return decoded.view(*shape, dictionary.shape[1])
