"""How a backbone's tokens are standardized, and its high-norm outliers, from a sample of any size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from usae_train.files.validation import FrozenModel
from usae_train.tokens.feeding import Feed

STANDARDIZATION_IMAGES = 1000  # as the authors' code
OUTLIER_FACTOR = math.sqrt(
    10
)  # a token is an outlier when its norm is larger than so many times the median; see `Outliers`
TOKEN_CHUNK_SIZE = 2048  # tokens that are in memory in float64 at a time
# How far the way to white tokens is gone: the covariance to the power of minus half of this. 0 leaves a few directions
# of a transformer to dominate, 1 makes as much of noise as of anything (tests/benchmarks/real_recipe.py has the table).
WHITENING = 0.5
VARIANCE_FLOOR = 1e-3  # of the mean variance, added to that of every direction: one that never varies has no inverse


class Outliers(FrozenModel):
    """High-norm tokens of one backbone, as in DINOv2 without registers.

    Darcet et al. 2024 (Vision Transformers Need Registers, arXiv 2309.16588) found a few patch tokens of about ten
    times the others' norm, which hold what concerns the whole picture instead of their patch. They cut by hand, at 150
    for DINOv2 ViT-g; the rule here holds for every width: halfway between the median norm and ten times that, on a
    logarithmic scale. It is applied to tokens as they are read: after a final norm layer outliers can look like others.
    """

    threshold: float = Field(description="sqrt(10) times the median norm, in the backbone's own units")
    count: int = Field(ge=0, description="tokens with a larger norm")
    tokens: int = Field(ge=1, description="tokens that were looked at")
    masked: bool = Field(False, description="whether such tokens were left out of training")

    @property
    def share(self) -> float:
        """Share of the tokens that are outliers."""
        return self.count / self.tokens


@dataclass(frozen=True)
class TokenSums:
    """What mean, std and norms are worked out from: each token's sum and sum of squares over its features."""

    sums: Tensor  # (tokens,) float64
    squares: Tensor  # (tokens,) float64
    width: int

    @property
    def outliers(self) -> Outliers:
        """How many tokens are outliers, and from which norm on."""
        norms = self.squares.sqrt()
        threshold = OUTLIER_FACTOR * norms.median().item()
        return Outliers(threshold=threshold, count=int((norms > threshold).sum()), tokens=len(norms))

    def within(self, threshold: float) -> Tensor:
        """(tokens,) bool: those whose norm is not larger."""
        return self.squares.sqrt() <= threshold

    def without(self, threshold: float) -> TokenSums:
        """Those of the tokens whose norm is not larger."""
        inside = self.within(threshold)
        return TokenSums(self.sums[inside], self.squares[inside], self.width)

    @property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Mean and (unbiased) std over tokens and features."""
        count = len(self.sums) * self.width
        mean = self.sums.sum() / count
        return mean, ((self.squares.sum() - count * mean.square()) / (count - 1)).clamp_min(0).sqrt()


@dataclass(frozen=True)
class Spread:
    """Mean token and covariance of a backbone's tokens."""

    mean: Tensor  # (width,) float64
    covariance: Tensor  # (width, width) float64, around the mean token

    def whitening(self, norm: float, power: float = WHITENING) -> Tensor:
        """The symmetric matrix (width, width) that tokens less their mean are multiplied with.

        Args:
            norm: root mean square norm of the tokens that come out.
            power: 0 changes no direction, 1 makes all alike.
        """
        variance, directions = torch.linalg.eigh(self.covariance)
        mean = variance.mean()
        if mean <= 0:  # tokens that are all the same
            return torch.eye(len(self.mean), dtype=torch.double)
        gains = (variance.clamp_min(0) / mean + VARIANCE_FLOOR) ** (-power / 2)
        gains *= norm / (gains.square() * variance).sum().sqrt()
        matrix: Tensor = directions @ (gains[:, None] * directions.T)
        return matrix


def spreads_of(feed: Feed, rows: Tensor, names: Iterable[str]) -> dict[str, Spread]:
    """Mean token and covariance of some of a feed's tokens (rows,), a chunk at a time."""
    sums = {name: torch.zeros(feed.widths[name], dtype=torch.double) for name in names}
    products = {name: torch.zeros(len(total), len(total), dtype=torch.double) for name, total in sums.items()}
    near: dict[str, Tensor] = {}  # about the mean token: what is left is small enough for products in float32
    for chunk in rows.split(TOKEN_CHUNK_SIZE):
        picked = feed.pick(chunk)
        for name in sums:
            tokens = picked[name].float()
            tokens -= near.setdefault(name, tokens.mean(0))
            sums[name] += tokens.sum(0, dtype=torch.double)
            products[name] += tokens.T @ tokens
    means = {name: total / len(rows) for name, total in sums.items()}
    return {
        name: Spread(near[name] + mean, products[name] / len(rows) - mean.outer(mean)) for name, mean in means.items()
    }


def sums_of(feed: Feed, rows: Tensor) -> dict[str, TokenSums]:
    """The sums of some of a feed's tokens (rows,), a chunk at a time.

    What is kept is allocated first and what is passing is one buffer: between large tensors that come and go, small
    ones that stay kept the allocator from using their places again (3.3 GB resident for 1000 images of 0.45 GB).
    """
    sums, squares = ({name: rows.new_empty(len(rows), dtype=torch.double) for name in feed.widths} for _ in range(2))
    buffer = torch.empty(min(TOKEN_CHUNK_SIZE, len(rows)) * max(feed.widths.values()), dtype=torch.double)
    for first in range(0, len(rows), TOKEN_CHUNK_SIZE):
        chunk = slice(first, first + TOKEN_CHUNK_SIZE)
        for name, tokens in feed.pick(rows[chunk]).items():
            values = buffer[: tokens.numel()].view_as(tokens).copy_(tokens)
            sums[name][chunk] = values.sum(-1)
            squares[name][chunk] = values.square_().sum(-1)
    return {name: TokenSums(sums[name], squares[name], width) for name, width in feed.widths.items()}


def rows_without_outliers(tokens: Mapping[str, Tensor], thresholds: Mapping[str, float]) -> tuple[Tensor | slice, int]:
    """The rows of {backbone: (rows, width)} at which no backbone has an outlier, and how many they are.

    A patch goes for all backbones, for the rows are paired. Should none be left, all stay, and their number is 0.
    """
    if not thresholds:
        return slice(None), len(next(iter(tokens.values())))
    inside = torch.stack([tokens[name].float().norm(dim=-1) <= most for name, most in thresholds.items()]).all(0)
    count = int(inside.sum())
    return inside if count else slice(None), count


def without_outliers(tokens: Mapping[str, Tensor], thresholds: Mapping[str, float]) -> dict[str, Tensor]:
    """The tokens of those rows alone."""
    inside, _ = rows_without_outliers(tokens, thresholds)
    return {name: values[inside] for name, values in tokens.items()}


def outliers_as_text(outliers: Mapping[str, Outliers]) -> str:
    """One line: how many of which backbone's tokens have a high norm."""
    listed = [
        f"{name} {each.count} of {each.tokens} ({each.share:.2%}; norm above {each.threshold:.4g})"
        for name, each in outliers.items()
        if each.count
    ]
    masked = ", left out of training" if any(each.masked for each in outliers.values()) else ""
    return f"high-norm tokens: {', '.join(listed) or 'none'}{masked if listed else ''}"
