"""Augmentations: the views of a canvas that backbones are shown. The operations are kornia's, the random draws ours.

Every random draw comes from a generator that belongs to the picture, so that a picture depends neither on its batch
nor on another picture's seed; all geometry is one affine warp, so a view is interpolated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from kornia.enhance import adjust_brightness, adjust_contrast
from kornia.enhance import adjust_saturation_with_gray_subtraction as adjust_saturation
from kornia.geometry.transform import warp_affine
from torch import Tensor
from torch.nn import functional

from usae_train.runtime.transfers import to_device
from usae_viz.views.presets import Augmentation


def draw_changes(
    settings: Augmentation,
    generator: torch.Generator,
    n_views: int,
    size: int,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw what happens to the views of one picture.

    Args:
        settings: how.
        generator: the picture's own.
        n_views: number of views.
        size: side of a view in pixels.
        device: where the noise is wanted; the rest is a few numbers, and in the processor's memory.

    Returns:
        geometry (n_views, 4): side share, x and y of the centre as shares, rotation in degrees; colour (n_views, 3):
        brightness, contrast, saturation; noise (n_views, 3, size, size), or (n_views, 0) without noise.
    """
    uniform = torch.rand(n_views, 7, generator=generator)
    side = _sides(settings, uniform[:, 0], generator)
    # a crop stays inside, but for the shift, which reflects
    free = (1 - side[:, None]) / 2 + (settings.shift or 0.0) * side[:, None]
    centre = 0.5 + (2 * uniform[:, 1:3] - 1) * free
    angle = (2 * uniform[:, 3] - 1) * settings.rotate
    strengths = torch.tensor([settings.brightness, settings.contrast, settings.saturation])
    colour = (2 * uniform[:, 4:7] - 1) * strengths
    noise = torch.zeros(n_views, 0)
    if settings.noise:
        strength = settings.noise * torch.rand(n_views, 1, 1, 1, generator=generator)
        noise = to_device(strength, device) * _normal((n_views, 3, size, size), generator, torch.device(device))
    return torch.cat([side[:, None], centre, angle[:, None]], 1), colour, noise


def _normal(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Normal numbers; a GPU draws its own, by a seed from the generator: six views of 224 px are 900,000 numbers."""
    if device.type != "cuda":
        return to_device(torch.randn(shape, generator=generator), device)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def _sides(settings: Augmentation, uniform: Tensor, generator: torch.Generator) -> Tensor:
    """Sides of the crops (n_views,), as shares, from as many numbers of 0 to 1."""
    low, high = settings.crop_range
    if settings.crop_normal is not None:
        mean, spread = settings.crop_normal
        return (mean + spread * torch.randn(len(uniform), generator=generator)).clamp(low, high)
    if settings.scales == "even":
        return low * (high / low) ** ((torch.arange(len(uniform)) + uniform) / len(uniform))
    return low + (high - low) * uniform


def augmented_views(
    canvas: Tensor, settings: Augmentation, generators: Sequence[torch.Generator], n_views: int, size: int
) -> Tensor:
    """Show canvases as the backbones will see them.

    Args:
        canvas: (n, 3, H, W), 0..1.
        settings: the augmentation.
        generators: one per canvas; equal states give equal draws.
        n_views: views per canvas.
        size: side of a view in pixels.

    Returns:
        (n, n_views, 3, size, size). What a rotation or shift brings in from outside the canvas is its reflection.
    """
    return show_views(canvas, settings, draw_views(canvas, settings, generators, n_views, size), n_views, size)


class Crops(NamedTuple):
    """Views that are cut from canvases of one coarseness.

    Attributes:
        halvings: how many times these are halved.
        rows: (crops,) which of all views.
        owners: (crops,) which canvas each is of.
        matrices: (crops, 2, 3) kornia's, from canvas pixels to view pixels.
    """

    halvings: int
    rows: Tensor
    owners: Tensor
    matrices: Tensor


class DrawnViews(NamedTuple):
    """Everything random in the views of some canvases, and every length that depends on it.

    Attributes:
        crops: of each coarseness.
        colour: (n * n_views, 3): brightness, contrast, saturation.
        noise: (n * n_views, 3, size, size), or (n * n_views, 0) without noise.
    """

    crops: list[Crops]
    colour: Tensor
    noise: Tensor


def draw_views(
    canvas: Tensor, settings: Augmentation, generators: Sequence[torch.Generator], n_views: int, size: int
) -> DrawnViews:
    """What `augmented_views` draws; of the canvas (n, 3, H, W) only shape and device are asked."""
    draws = [draw_changes(settings, generator, n_views, size, canvas.device) for generator in generators]
    geometry, colour, noise = (torch.cat(part) for part in zip(*draws, strict=True))
    return DrawnViews(_crops(canvas, geometry, size), to_device(colour, canvas.device), noise)


def show_views(canvas: Tensor, settings: Augmentation, draws: DrawnViews, n_views: int, size: int) -> Tensor:
    """The views (n, n_views, 3, size, size) once all is drawn: one graph, in which nothing is random."""
    crops, colour, noise = draws
    warped = _warped(canvas, crops, len(colour), size)
    if settings.brightness:
        warped = adjust_brightness(warped, colour[:, 0])
    if settings.contrast:
        warped = adjust_contrast(warped, 1 + colour[:, 1])
    if settings.saturation:
        warped = adjust_saturation(warped, 1 + colour[:, 2])
    if settings.noise:
        warped = warped + noise
    views: Tensor = warped.unflatten(0, (len(canvas), n_views))
    return views


def _crops(canvas: Tensor, geometry: Tensor, size: int) -> list[Crops]:
    """Crops (n * n_views, 4) of canvases (n, 3, H, W), each from a canvas about as fine as it is itself.

    The geometry is in the processor's memory, and what is done with which crop is found there. Warping samples points:
    a crop of the whole of a canvas of 512 px, shown at 224, would see every other one.
    """
    owners = torch.arange(len(geometry)) // (len(geometry) // len(canvas))
    pixels = geometry[:, 0] * min(canvas.shape[-2:]) / size  # of the canvas, for one of the view
    halvings = pixels.log2().round().clamp_min(0).long()
    crops = []
    for level in halvings.unique().tolist():
        rows = (halvings == level).nonzero()[:, 0]
        matrices = _matrices(geometry[rows], _coarser(canvas.shape[-2:], level), size)
        crops.append(Crops(level, *(to_device(tensor, canvas.device) for tensor in (rows, owners[rows], matrices))))
    return crops


def _warped(canvas: Tensor, crops: Sequence[Crops], count: int, size: int) -> Tensor:
    """All views (count, 3, size, size) of canvases (n, 3, H, W)."""
    warped = canvas.new_empty(count, 3, size, size)
    for each in crops:
        warped[each.rows] = warp_affine(
            _halved(canvas, each.halvings).index_select(0, each.owners),
            each.matrices,
            (size, size),
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        )
    return warped


def _coarser(shape: Sequence[int], times: int) -> tuple[int, ...]:
    """Height and width, halved a number of times."""
    return tuple(max(1, round(side / 2**times)) for side in shape)


def _halved(canvas: Tensor, times: int) -> Tensor:
    """Canvases (n, 3, H, W) with their sides halved a number of times, antialiased."""
    if times == 0:
        return canvas
    return functional.interpolate(canvas, _coarser(canvas.shape[-2:], times), mode="area")


def _matrices(geometry: Tensor, shape: Sequence[int], size: int) -> Tensor:
    """kornia's (views, 2, 3) matrices, from canvas pixels to view pixels."""
    side, x, y, degrees = geometry.unbind(1)
    height, width = shape
    scale = size / (side * min(height, width))
    cos, sin = torch.deg2rad(degrees).cos() * scale, torch.deg2rad(degrees).sin() * scale
    x, y, middle = x * width - 0.5, y * height - 0.5, (size - 1) / 2
    rows = [cos, -sin, middle - cos * x + sin * y, sin, cos, middle - sin * x - cos * y]
    return torch.stack(rows, 1).view(-1, 2, 3)
