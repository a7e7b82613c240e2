"""Sparse codes: TopK, and decoding without ever laying out tokens x concepts."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


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
