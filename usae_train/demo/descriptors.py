"""What a clean picture shows, by fixed formulas: the targets of the self-supervised backbone.

No label enters here, and nothing is learned but k-means cells.
"""

from __future__ import annotations

import math

import torch
from kornia.color import rgb_to_hsv
from torch import Tensor
from torch.nn import functional

from usae_train.scenes import world as scenes

HUES = 24
TEXTURE_WINDOW = 24  # pixels: two to three periods of a texture
RINGS = 7
HARMONICS = (0, 2, 4)  # of the spectrum around a ring: energy, stripes, grids
BANDS, BAND = 8, 0.25  # of a thing's pixels by their distance from its middle, in radii of a disc of its area
TURNS = (2, 3, 4, 5, 6)  # of an outline around its middle: bars, triangles, squares, stars, ...
OUTLINE_STEP = 2  # every second pixel is enough


def colour_histogram(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Each patch's distribution over 24 hues and 4 levels of grey.

    Args:
        images: (n, 3, height, width), 0..1.
        grid: (rows, cols).

    Returns:
        (n, rows * cols, 28), each row summing to 1.
    """
    hsv = rgb_to_hsv(images)
    hue, saturation, value = hsv[:, 0] / (2 * math.pi) * HUES, hsv[:, 1], hsv[:, 2]
    chroma = ((saturation * value - 0.12) / 0.1).clamp(0, 1)
    histogram = images.new_zeros(len(images), HUES + 4, *images.shape[-2:])
    low = hue.floor()
    share = (hue - low)[:, None]
    histogram.scatter_add_(1, (low.long() % HUES)[:, None], (1 - share) * chroma[:, None])
    histogram.scatter_add_(1, ((low.long() + 1) % HUES)[:, None], share * chroma[:, None])
    level = HUES + (value * 4).long().clamp(0, 3)
    histogram.scatter_add_(1, level[:, None], (1 - chroma)[:, None])
    return functional.adaptive_avg_pool2d(histogram, grid).flatten(2).mT


def local_texture(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """The spectrum of each patch's neighbourhood, without orientation: harmonics 0, 2 and 4 around each of 7 rings.

    Returns:
        (n, rows * cols, 24): 7 rings x 3 harmonics, and the luminance's spread, skew and share of bright pixels.
    """
    luminance = images.mean(1, keepdim=True)
    rows, cols = grid
    height, width = images.shape[-2:]
    stride = (height // rows, width // cols)
    pad = TEXTURE_WINDOW // 2 - stride[0] // 2
    windows = functional.unfold(
        functional.pad(luminance, [max(pad, 0)] * 4, mode="reflect"), TEXTURE_WINDOW, stride=stride
    )
    windows = windows.mT[:, : rows * cols].unflatten(-1, (TEXTURE_WINDOW, TEXTURE_WINDOW))
    mean = windows.mean((-1, -2), keepdim=True)
    centred = windows - mean
    spread = centred.square().mean((-1, -2)).clamp_min(1e-8).sqrt()
    hann = torch.hann_window(TEXTURE_WINDOW, device=images.device)
    power = torch.fft.fft2(centred * hann[:, None] * hann).abs()
    basis = _ring_basis(images.device)
    angular = torch.einsum("npf,rhf->nprh", power.flatten(-2).to(torch.complex64), basis).abs().flatten(-2)
    energy = torch.log1p(angular)
    skew = (centred / spread[..., None, None]).pow(3).mean((-1, -2)) * (spread > 0.03)
    bright = (centred > 0).float().mean((-1, -2))
    return torch.cat([energy, torch.stack([5 * spread, skew, bright], -1)], -1)


def _ring_basis(device: torch.device) -> Tensor:
    frequency = torch.fft.fftfreq(TEXTURE_WINDOW, device=device) * TEXTURE_WINDOW
    fy, fx = frequency[:, None], frequency[None]
    radius, angle = (fy.square() + fx.square()).sqrt().flatten(), torch.atan2(fy, fx).flatten()
    rings = (1 - (radius[None] - torch.arange(1, RINGS + 1, device=device)[:, None]).abs()).clamp_min(0)
    waves = torch.stack([torch.polar(torch.ones_like(angle), order * angle) for order in HARMONICS])
    basis: Tensor = rings[:, None] * waves[None]
    return basis


def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest of `centres` (cells, d) for each of `points` (..., d)."""
    nearest: Tensor = torch.cdist(points.flatten(0, -2), centres).argmin(-1).unflatten(0, points.shape[:-1])
    return nearest


def outlines(surface: Tensor) -> Tensor:
    """The form of what is seen of every object, whatever its place, size and angle.

    Args:
        surface: (n, height, width), which of a scene's surfaces is seen where; 0 is the background.

    Returns:
        (n, MAX_OBJECTS, 13): the share of its pixels in each of 8 bands around its middle, and how much the mean
        distance from the middle varies with 2 to 6 turns around it. Zeros where nothing is seen of it.
    """
    visible = surface[:, None, ::OUTLINE_STEP, ::OUTLINE_STEP] == torch.arange(
        1, scenes.MAX_OBJECTS + 1, dtype=surface.dtype, device=surface.device
    ).view(1, -1, 1, 1)
    mask = visible.float().flatten(2)  # (n, objects, pixels)
    rows, cols = visible.shape[-2:]
    y, x = (
        axis.flatten().float()
        for axis in torch.meshgrid(
            torch.arange(rows, device=surface.device), torch.arange(cols, device=surface.device), indexing="ij"
        )
    )
    area = mask.sum(-1, keepdim=True).clamp_min(1)
    across, down = x - (mask * x).sum(-1, keepdim=True) / area, y - (mask * y).sum(-1, keepdim=True) / area
    distance = (across.square() + down.square()).sqrt() / (area / math.pi).sqrt()
    angle = torch.atan2(down, across)
    band = (distance / BAND).long().clamp_max(BANDS - 1)
    shares = torch.zeros(*mask.shape[:2], BANDS, device=surface.device).scatter_add_(-1, band, mask) / area
    weight = mask * distance
    turns = [torch.hypot((weight * (m * angle).cos()).sum(-1), (weight * (m * angle).sin()).sum(-1)) for m in TURNS]
    return torch.cat([shares, torch.stack(turns, -1) / area], -1)


def texture_cells(grid: tuple[int, int], cells: int) -> Tensor:
    """k-means cells (cells, d) of `local_texture` over 256 scenes of a fixed seed."""
    generator = torch.Generator().manual_seed(7)
    points = local_texture(scenes.draw(256, generator, zoomed=0.5, plain=0.0).images, grid).flatten(0, 1)
    return _k_means(points, cells, generator)


def outline_cells(cells: int) -> Tensor:
    """k-means cells (cells, d) of `outlines` over 1024 scenes of a fixed seed."""
    generator = torch.Generator().manual_seed(8)
    points = outlines(scenes.draw(1024, generator, zoomed=0.25).surface).flatten(0, 1)
    return _k_means(points[points.sum(-1) > 0], cells, generator)


def _k_means(points: Tensor, cells: int, generator: torch.Generator) -> Tensor:
    """20 rounds of Lloyd's."""
    centres = points[torch.randperm(len(points), generator=generator)[:cells]]
    for _ in range(20):
        nearest = nearest_centre(points, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=cells)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres
