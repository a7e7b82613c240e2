"""Metrics of a USAE: pure, and added up a batch at a time where the data is large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from torch import Tensor

SAME_ATOM = 0.5  # cosine above which the paper counts two atoms as the same (section 4.4)
# Both are choices of ours; the paper counts neither.
DENSE_SHARE = 0.1  # share of the tokens above which a concept counts as dense
DUPLICATE_COSINE = 0.95  # cosine, in every backbone, above which two concepts are duplicates

Matrix = dict[str, dict[str, float]]  # {from: {to: figure}}
NO_VARIANCE_SHARE = 1e-6  # share of the mean square below which a variance is only the rounding of squares to float32


class R2Summary(TypedDict):
    """Means of an R² matrix; None for a single backbone, or where the diagonal explains nothing."""

    diagonal: float
    off_diagonal: float | None
    ratio: float | None


class Reconstruction:
    """How well tokens are decoded, {from: {to: ...}}, as sums that batches, resumed runs and processes add to.

    Args:
        sources: whose codes are decoded.
        targets: whose tokens they are decoded to.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        self.sources, self.targets = list(sources), list(targets)
        self.totals: dict[str, Tensor] = {}

    def add_tokens(self, target: str, tokens: Tensor) -> None:
        """Add a backbone's tokens (n, width), once for all sources that are decoded to them."""
        self._add(f"{target}.sum", tokens.sum(0, dtype=torch.float64))
        self._add(f"{target}.square", tokens.square().sum(0, dtype=torch.float64))
        self._add(f"{target}.count", torch.tensor(len(tokens)))

    def add_decoded(self, source: str, target: str, tokens: Tensor, decoded: Tensor) -> None:
        """Add what the same tokens (n, width) were decoded to."""
        error = tokens - decoded  # summed in float32: torch adds pairwise, and float64 took 5% of the whole time
        self._add(f"{source}>{target}.absolute", error.abs().sum().double())
        self._add(f"{source}>{target}.squared", error.square_().sum().double())

    @property
    def r2(self) -> Matrix:
        """1 - squared error / variance around each feature's own mean: 1 is perfect, 0 is the mean token.

        NaN for tokens that are all the same.
        """
        return self._r2(per_feature=True)

    @property
    def r2_scalar(self) -> Matrix:
        """R² around one mean of all features, as in the published code (the `overcomplete` package).

        It is larger wherever features have means of their own.
        """
        return self._r2(per_feature=False)

    def spread(self, target: str) -> float:
        """Root mean variance of a backbone's features; never 0."""
        total, square = self.totals[f"{target}.sum"], self.totals[f"{target}.square"].sum()
        variance = (square - total.square().sum() / self.totals[f"{target}.count"]) / self._numbers(target)
        return float(
            max(variance.item(), NO_VARIANCE_SHARE * square.item() / self._numbers(target).item(), NO_VARIANCE_SHARE)
            ** 0.5
        )

    def mean_error(self, kind: str) -> Matrix:
        """Mean `squared` or `absolute` error over tokens and features."""
        matrix: Matrix = {source: {} for source in self.sources}
        for source, target in self._pairs():
            matrix[source][target] = (self.totals[f"{source}>{target}.{kind}"] / self._numbers(target)).item()
        return matrix

    def state_dict(self) -> dict[str, Tensor]:
        """The sums so far."""
        return self.totals

    def merge(self, state: dict[str, Tensor]) -> None:
        """Add another's sums to these."""
        for key, total in state.items():
            self._add(key, total)

    def _r2(self, per_feature: bool) -> Matrix:
        matrix: Matrix = {source: {} for source in self.sources}
        for source, target in self._pairs():
            total, square = self.totals[f"{target}.sum"], self.totals[f"{target}.square"].sum()
            centre = total.square().sum() / self.totals[f"{target}.count"]
            variance = square - (centre if per_feature else total.sum().square() / self._numbers(target))
            share = self.totals[f"{source}>{target}.squared"] / variance
            matrix[source][target] = (1 - share).item() if variance > NO_VARIANCE_SHARE * square else float("nan")
        return matrix

    def _pairs(self) -> list[tuple[str, str]]:
        """The pairs that something was added for."""
        every = [(source, target) for source in self.sources for target in self.targets]
        return [(source, target) for source, target in every if f"{source}>{target}.squared" in self.totals]

    def _numbers(self, target: str) -> Tensor:
        """How many numbers there were: tokens x features."""
        return self.totals[f"{target}.count"] * len(self.totals[f"{target}.sum"])

    def _add(self, key: str, value: Tensor) -> None:
        value = value.cpu()
        self.totals[key] = self.totals[key] + value if key in self.totals else value


def mean_on_and_off(matrix: Mapping[str, Mapping[str, float]]) -> tuple[float, float | None]:
    """The mean of a matrix on its diagonal, and off it (None for one backbone)."""
    on = [row[source] for source, row in matrix.items()]
    return sum(on) / len(on), mean_off(matrix) if len(matrix) > 1 else None


def mean_off(matrix: Mapping[str, Mapping[str, float]]) -> float:
    """The mean of a matrix off its diagonal, which may be missing."""
    figures = [figure for source, row in matrix.items() for target, figure in row.items() if target != source]
    return sum(figures) / len(figures)


def r2_summary(matrix: Mapping[str, Mapping[str, float]]) -> R2Summary:
    """Means on and off the diagonal, and their ratio.

    Off it None with a single backbone; no ratio where the diagonal explains nothing.
    """
    diagonal, cross = mean_on_and_off(matrix)
    ratio = cross / diagonal if cross is not None and diagonal > 0 else None
    return {"diagonal": diagonal, "off_diagonal": cross, "ratio": ratio}


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's r of two (n,) tensors; NaN when one does not vary."""
    if len(a) == 0:
        return float("nan")
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return float((a @ b / (a.norm() * b.norm())).item())


def duplicates(dictionaries: list[Tensor], chunk: int = 1024) -> list[tuple[int, int]]:
    """Pairs of concepts whose atoms (n_concepts, width), of unit norm, are alike in every backbone.

    Each concept is paired with the first that it is like, so that a space of equal concepts has n_concepts - 1 pairs,
    not millions.
    """
    n_concepts = len(dictionaries[0])
    like = torch.full((n_concepts,), -1)
    for first in range(0, n_concepts, chunk):
        alike = (
            torch.stack([atoms[first : first + chunk] @ atoms.T for atoms in dictionaries]).amin(0) > DUPLICATE_COSINE
        )
        later = alike.triu(first + 1)  # of each row, the columns of higher numbers
        first_like = torch.where(later.any(0), later.int().argmax(0) + first, -1)
        like = torch.where(like < 0, first_like, like)
    return sorted((twin, concept) for concept, twin in enumerate(like.tolist()) if twin >= 0)


def match_one_to_one(alike: Tensor) -> Tensor:
    """Pair rows with columns, one to one, so that the sum of `alike` (rows, columns) is largest.

    The Hungarian method, scipy's.

    Returns:
        (rows,) each row's column; -1 for rows left over where there are fewer columns.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(alike.numpy(), maximize=True)
    partner = torch.full((len(alike),), -1, dtype=torch.long)
    partner[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return partner


def matched_cosines(dictionaries: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """How alike two concept spaces are: each concept's cosine with its match, one to one.

    Args:
        dictionaries: each backbone's atoms, (n_concepts, width), unit norm.
        others: the same backbones' atoms of the other space. What is matched is the cosine's mean over backbones.

    Returns:
        (n_concepts,); NaN for a concept without a partner.
    """
    alike = torch.stack([a @ b.T for a, b in zip(dictionaries, others, strict=True)]).mean(0)
    partner = match_one_to_one(alike)
    cosines = alike.gather(1, partner.clamp_min(0)[:, None])[:, 0]
    return torch.where(partner >= 0, cosines, torch.nan)


def matched_cosine(dictionaries: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The mean of `matched_cosines`."""
    return matched_cosines(dictionaries, others).nanmean().item()


def random_like(atoms: Tensor, generator: torch.Generator) -> Tensor:
    """Normal random atoms with the mean and variance of each feature of `atoms` (n_concepts, width), of unit norm."""
    drawn = torch.randn(atoms.shape, generator=generator) * atoms.std(0) + atoms.mean(0)
    return torch.nn.functional.normalize(drawn, dim=-1)
