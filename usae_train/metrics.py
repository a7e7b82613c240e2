"""Metrics of a USAE: pure, and streaming where the data is large."""

from __future__ import annotations

import torch
from torch import Tensor

DENSE = 0.1  # share of the tokens from which on a concept counts as dense
TWINS = 0.95  # cosine, in every backbone, from which on two concepts are one


class R2Sum:
    """R² of decoded tokens, a batch at a time: 1 - squared error / variance around each feature's own mean."""

    def __init__(self) -> None:
        self._error = self._square = torch.zeros((), dtype=torch.float64)
        self._sum = torch.zeros((), dtype=torch.float64)
        self._count = 0

    def add(self, tokens: Tensor, decoded: Tensor) -> None:
        """Take in tokens (n, width) and what they were decoded to."""
        self._error = self._error + (tokens - decoded).double().square().sum()
        self._square = self._square + tokens.double().square().sum()
        self._sum = self._sum + tokens.double().sum(0)
        self._count += len(tokens)

    @property
    def value(self) -> float:
        """R² of all that was added."""
        variance = self._square - self._sum.square().sum() / self._count
        return (1 - self._error / variance.clamp_min(torch.finfo(torch.float64).tiny)).item()


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's r of two (n,) tensors; NaN when one does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return (a @ b / (a.norm() * b.norm())).item()


def duplicates(dictionaries: list[Tensor], chunk: int = 1024) -> list[tuple[int, int]]:
    """Pairs of concepts whose atoms (n_concepts, width), of unit norm, are alike in every backbone."""
    n_concepts = len(dictionaries[0])
    pairs: list[tuple[int, int]] = []
    for first in range(0, n_concepts, chunk):
        alike = torch.stack([atoms[first : first + chunk] @ atoms.T for atoms in dictionaries]).amin(0) > TWINS
        rows, columns = alike.nonzero(as_tuple=True)
        pairs += [(r + first, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if c > r + first]
    return pairs


def matched_cosine(one: list[Tensor], other: list[Tensor]) -> float:
    """How alike two concept spaces are: mean cosine of their concepts, matched one to one.

    The Hungarian method (scipy's) on the cosine of the atoms, averaged over the backbones.

    Args:
        one: a backbone's atoms each, (n_concepts, width), unit norm.
        other: the same backbones' atoms of the other space.
    """
    from scipy.optimize import linear_sum_assignment

    alike = torch.stack([a @ b.T for a, b in zip(one, other, strict=True)]).mean(0)
    rows, columns = linear_sum_assignment(alike.numpy(), maximize=True)
    return alike[rows, columns].mean().item()
