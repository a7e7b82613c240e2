"""Sparse codes: TopK, and decoding without ever laying out tokens x concepts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

GROUP = 12  # concepts; of 4, 6, 8, 12 and 16 the fastest for 6144 and k = 32


class Codes(NamedTuple):
    """Codes kept sparse: the k active concepts of each token.

    Attributes:
        values: (..., k), >= 0, in descending order. A token with fewer active concepts is filled up with zeros.
        indices: (..., k), the concepts that the values belong to.
    """

    values: Tensor
    indices: Tensor

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


def top_indices(pre_codes: Tensor, k: int) -> Tensor:
    """(tokens, k): the k largest of each token's pre-codes (tokens, n_concepts), in no order, ties either way.

    They all lie in the k groups of concepts with the largest maxima: 20 ms for (1568, 6144) in bfloat16, where torch's
    topk over all takes 26 (one core of an EPYC).
    """
    tokens, n_concepts = pre_codes.shape
    if n_concepts % GROUP or n_concepts < 4 * GROUP * k:
        return pre_codes.topk(k, dim=-1, sorted=False).indices
    groups = n_concepts // GROUP
    best = pre_codes.view(tokens, GROUP, groups).amax(1).topk(k, dim=-1, sorted=False).indices
    starts = torch.arange(0, n_concepts, groups, device=pre_codes.device)
    members = (best[:, None, :] + starts[:, None]).view(tokens, -1)
    return members.gather(1, pre_codes.gather(1, members).topk(k, dim=-1, sorted=False).indices)


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
