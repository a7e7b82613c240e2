"""Points in a plane, near each other where they are alike: t-SNE (van der Maaten and Hinton 2008), from PCA.

Their repulsion is summed over all pairs on a grid, with Fourier transforms (Linderman et al. 2019): 6144
points take seconds on one core, and nothing is drawn at random but where the search for the first axes begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Chosen by tests/benchmarks/atlas.py: the share of a concept's 10 nearest that are among the 10 nearest in the plane is
# 0.31 of the demo, 0.26 of photos (PCA: 0.11 and 0.05; scikit-learn's t-SNE: 0.32 and 0.26).
PERPLEXITY = 15.0  # about how many neighbours a point has; 5 keeps less of photos (0.23), 30 takes 1.4 times as long
NEIGHBOURS = 3  # times the perplexity: beyond that, weights vanish
# with the attraction exaggerated, which brings similar points together, then without; more steps add 0.01
PHASE_STEPS = (100, 200)
EXAGGERATION = 12.0
MOMENTUM = (0.5, 0.8)  # in the two phases, as in the authors' code
SPACING = 0.5  # of the grid, where the kernel is 1 wide: forces are within 6% of the sum over pairs
MAX_CELLS = 512  # per side: a larger plane gets a coarser grid
MAX_EXACT_POINTS = 200  # points, up to which the sum over pairs is as fast, however far apart they are
BLOCK = 1024  # rows of the distances of all pairs that are in memory at once


def tsne(points: Tensor, seed: int = 0) -> Tensor:
    """Lay points out.

    Args:
        points: (n, width), at least 4, as rows of equal length: two are similar where their inner product is large.
        seed: of the first axes' search.

    Returns:
        (n, 2), centred.
    """
    plane = principal_axes(points, seed)
    if len(points) < 4:
        return plane
    attraction = _attraction_of(points)
    repel = exact_repulsion if len(points) < MAX_EXACT_POINTS else repulsion
    rate = len(points) / EXAGGERATION  # Belkina et al. 2019
    for steps, momentum, exaggeration in zip(PHASE_STEPS, MOMENTUM, (EXAGGERATION, 1.0), strict=True):
        speed, gain = torch.zeros_like(plane), torch.ones_like(plane)
        for _ in range(steps):
            force = exaggeration * attraction.on(plane) + repel(plane)
            same = force.sign() == speed.sign()  # as in the last step: go faster; else slower (Jacobs 1988)
            gain = torch.where(same, gain + 0.2, gain * 0.8).clamp_min(0.01)
            speed = momentum * speed + rate * gain * 4 * force
            plane = plane + speed
            plane = plane - plane.mean(0)
    return plane


def nearest_points(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The points most similar to each, itself left out: which, and their squared distances, (n, count) each."""
    places, distances = [], []
    square = points.square().sum(1)
    for first in range(0, len(points), BLOCK):
        block = points[first : first + BLOCK]
        far = square[first : first + BLOCK, None] + square - 2 * block @ points.T
        rows = torch.arange(len(block))
        far[rows, first + rows] = math.inf
        nearest = far.topk(count, largest=False)
        places.append(nearest.indices)
        distances.append(nearest.values.clamp_min(0))
    return torch.cat(places), torch.cat(distances)


@dataclass(frozen=True)
class _Attraction:
    """What draws pairs of points together: (pairs,) weights that sum to 1, each pair in both directions."""

    first: Tensor
    second: Tensor
    weights: Tensor

    def on(self, plane: Tensor) -> Tensor:
        """The force on each point of a plane (n, 2)."""
        apart = plane[self.second] - plane[self.first]
        close = self.weights / (1 + apart.square().sum(1))
        return torch.zeros_like(plane).index_add_(0, self.first, close[:, None] * apart)


def _attraction_of(points: Tensor) -> _Attraction:
    """Of each point's nearest among points (n, width), by a Gaussian that is as wide as the perplexity asks."""
    n = len(points)
    perplexity = min(PERPLEXITY, (n - 1) / NEIGHBOURS)
    count = min(n - 1, max(2, round(NEIGHBOURS * perplexity)))
    places, distances = nearest_points(points, count)
    weights = _gaussian(distances, perplexity)
    rows, columns = torch.arange(n).repeat_interleave(count), places.flatten()
    pairs, pair_of = torch.cat([rows * n + columns, columns * n + rows]).unique(return_inverse=True)
    pair_weights = (weights.flatten() / (2 * n)).repeat(2)
    return _Attraction(pairs // n, pairs % n, torch.zeros(len(pairs)).index_add_(0, pair_of, pair_weights))


def _gaussian(distances: Tensor, perplexity: float) -> Tensor:
    """(n, count) weights of squared distances (n, count): rows sum to 1, with the entropy that the perplexity asks."""
    from_nearest = distances - distances[:, :1]
    scale = from_nearest.mean(1, keepdim=True).clamp_min(1e-12)
    low, high = torch.full_like(scale, -20.0), torch.full_like(scale, 20.0)
    weights = torch.full_like(distances, 1 / distances.shape[1])
    for _ in range(40):
        middle = (low + high) / 2
        weights = (-from_nearest / scale * middle.exp()).softmax(1)
        entropy = -(weights * weights.clamp_min(1e-30).log()).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return weights


def repulsion(plane: Tensor) -> Tensor:
    """(n, 2): what drives all pairs apart, on each point, by the grid; `exact_repulsion` is the same as a sum.

    Args:
        plane: (n, 2).
    """
    low = plane.amin(0)
    span = float((plane.amax(0) - low).max())
    spacing = max(SPACING, span / (MAX_CELLS - 3))
    side = int(span / spacing) + 4  # a node beyond every edge
    at = (plane - low) / spacing + 1
    cell, share = _nodes(at, side)
    charges = torch.cat([torch.ones(1, len(plane)), plane.T])
    grid = torch.zeros(3, side * side)
    for node, amount in zip(cell, share, strict=True):
        grid.index_add_(1, node, charges * amount)
    fields = _spread(grid.view(3, side, side), spacing).view(4, -1)
    close, squared, across, down = sum(fields[:, node] * amount for node, amount in zip(cell, share, strict=True))
    pairs = close.sum() - len(plane)
    gradient: Tensor = (squared[:, None] * plane - torch.stack([across, down], 1)) / pairs
    return gradient


def _nodes(at: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The 3 x 3 nodes of the grid around each point, and their shares (Lagrange), (9, n) each."""
    middle = at.round()
    off = at - middle
    along = torch.stack([off * (off - 1) / 2, 1 - off.square(), off * (off + 1) / 2])  # (3, n, 2)
    share = along[:, None, :, 0] * along[None, :, :, 1]
    steps = torch.arange(-1, 2)
    first, second = middle.long().T
    cell = (first + steps[:, None, None]) * side + second + steps[None, :, None]
    return cell.view(9, -1), share.reshape(9, -1)


def _spread(grid: Tensor, spacing: float) -> Tensor:
    """The number of points under 1/(1+d²); number and both coordinates under its square. (3, s, s) to (4, s, s)."""
    side = grid.shape[1]
    double = _fast_length(2 * side)
    steps = torch.arange(double)
    away = torch.minimum(steps, double - steps) * spacing
    close = 1 / (1 + away[:, None].square() + away.square())
    kernels = torch.fft.rfft2(torch.stack([close, close.square()]))
    spectrum = torch.fft.rfft2(grid, s=(double, double))
    fields = torch.cat([spectrum[:1] * kernels[0], spectrum * kernels[1]])
    spread: Tensor = torch.fft.irfft2(fields, s=(double, double))[:, :side, :side].contiguous()
    return spread


def _fast_length(least: int) -> int:
    """The next length whose Fourier transform is fast: 2, 3 or 5 times a power of two."""
    sizes = [odd << power for odd in (2, 3, 5) for power in range(1, 12)]
    return min(size for size in sizes if size >= least)


def exact_repulsion(plane: Tensor) -> Tensor:
    """(n, 2): what `repulsion` approximates, n² in time and memory: the dense reference, and the way for few points."""
    apart = plane[:, None] - plane
    close = 1 / (1 + apart.square().sum(-1))
    return (close.square()[..., None] * apart).sum(1) / (close.sum() - len(plane))


def principal_axes(points: Tensor, seed: int) -> Tensor:
    """The two directions in which points differ most (PCA, by subspace iteration), small, as t-SNE wants to begin."""
    centred = points - points.mean(0)
    width = min(10, *points.shape)
    axes = torch.randn(points.shape[1], width, generator=torch.Generator().manual_seed(seed))
    for _ in range(8):
        axes = torch.linalg.qr(centred.T @ (centred @ axes)).Q
    scores = centred @ axes
    _, turn = torch.linalg.eigh(scores.T @ scores)
    plane = scores @ turn[:, -2:].flip(1)
    plane = plane * plane.gather(0, plane.abs().argmax(0)[None]).sign()  # an axis may point either way
    started: Tensor = 1e-2 * plane / plane[:, 0].std().clamp_min(1e-12)
    return started
