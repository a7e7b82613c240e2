"""Augmentations: the views of a canvas that backbones are shown. The operations are kornia's, the chance is ours.

Every random draw comes from a generator that belongs to the picture, so that a picture depends neither on its batch
nor on somebody else's seed; all geometry is one affine warp, so a view is interpolated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from kornia.enhance import adjust_brightness, adjust_contrast
from kornia.enhance import adjust_saturation_with_gray_subtraction as adjust_saturation
from kornia.geometry.transform import warp_affine
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional

WHOLE = 0.6  # of the side: a crop of it still shows what the whole is of


class Augmentation(BaseModel):
    """How views are drawn from a canvas. Shares are of the canvas's side; but for `crop`, ranges are drawn from
    uniformly.

    Example:
        >>> gentle = Augmentation(crop=(0.8, 1.0), rotate=5)
        >>> canvas = torch.rand(1, 3, 64, 64)
        >>> views(canvas, gentle, [torch.Generator().manual_seed(0)], crops=4, size=32).shape
        torch.Size([1, 4, 3, 32, 32])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop: tuple[float, float] = Field((0.2, 1.0), description="side of the crop, smallest and largest share")
    crop_normal: tuple[float, float] | None = Field(
        None, description="mean and standard deviation of the crop's side, cut off at `crop`; instead of `scales`"
    )
    scales: Literal["uniform", "even"] = Field(
        "even",
        description="how the sides are drawn from `crop`: each by chance; or one from each of as many parts as there "
        "are crops, equal on a logarithmic scale, so that every step sees large and small ones",
    )
    shift: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="further shift of a crop, largest share of its own side; half of the largest patch unless told",
    )
    rotate: float = Field(5.0, ge=0, le=180, description="largest rotation, degrees either way")
    brightness: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    contrast: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    saturation: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    noise: float = Field(
        0.1, ge=0, le=1, description="largest standard deviation of the added noise, of the 0..1 range"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        low, high = self.crop
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop is {self.crop}; expected two shares with 0 < smallest <= largest <= 1")
        if self.crop_normal is not None and not all(0 <= share <= 1 for share in self.crop_normal):
            raise ValueError(f"crop_normal is {self.crop_normal}; expected a mean and a standard deviation of 0 to 1")
        return self

    def of_the_whole(self) -> Augmentation:
        """The same with crops of no less than `WHOLE` of the side; what never shows so much stays as it is."""
        low, high = self.crop
        if self.crop_normal is not None or high <= WHOLE:
            return self
        return self.model_copy(update={"crop": (max(low, WHOLE), high)})

    def for_patches(self, share: float) -> Augmentation:
        """The same with the shift filled in: half of a patch that covers a share of a view's side.

        A shift of less leaves every patch's borders where they are, which shows as a grid in the picture.
        """
        return self if self.shift is not None else self.model_copy(update={"shift": min(share / 2, 0.5)})


# `default`: chosen on real networks (tests/benchmarks/real_reader.py; four classes, probability for the whole and for
# crops of 0.7, 0.5 and 0.3): crops from 0.2 of the side 0.98, 0.98, 0.91, 0.60, from 0.15 0.75, 0.91, 0.91, 0.50; of
# 0.6 to 1 alone 0.98, 0.91, 0.52, 0.04; noise of up to 0.05 for 0.15 0.92, 0.96, 0.81, 0.55; turned by up to 5 degrees
# in colours that stay, for 10 and colours that change, 0.98, 0.99, 0.97, 0.60. `maco`: crops of N(0.25, 0.1) of the
# side and uniform noise within 0.1, here normal noise with the same root mean square (Fel et al. 2023, section 4); it
# is meant for canvases several times the backbones' input. `lucid`: small jitter, rotation and scale around the whole
# canvas (lucid's standard transforms).
PRESETS: dict[str, Augmentation] = {
    "default": Augmentation(),
    "maco": Augmentation(crop=(0.05, 1.0), crop_normal=(0.25, 0.1), rotate=0, noise=0.1),
    "lucid": Augmentation(crop=(0.9, 1.0), scales="uniform", shift=0.08, rotate=5, noise=0),
    "none": Augmentation(crop=(1, 1), shift=0, rotate=0, noise=0),
}

# What pictures are verified under, and nothing is drawn under: other generators, no noise, gentler ranges, as anybody
# sees who looks.
HELD_OUT = Augmentation(
    crop=(0.75, 0.98), scales="uniform", shift=0.03, rotate=4, brightness=0.03, contrast=0.05, saturation=0.05, noise=0
)


def draw(settings: Augmentation, generator: torch.Generator, crops: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw what happens to the views of one picture.

    Args:
        settings: how.
        generator: the picture's own.
        crops: number of views.
        size: side of a view in pixels.

    Returns:
        geometry (crops, 4): side share, x and y of the centre as shares, rotation in degrees; colour (crops, 3):
        brightness, contrast, saturation; noise (crops, 3, size, size), or (crops, 0) without noise.
    """
    uniform = torch.rand(crops, 7, generator=generator)
    side = _sides(settings, uniform[:, 0], generator)
    # a crop stays inside, but for the shift, which reflects
    free = (1 - side[:, None]) / 2 + (settings.shift or 0.0) * side[:, None]
    centre = 0.5 + (2 * uniform[:, 1:3] - 1) * free
    angle = (2 * uniform[:, 3] - 1) * settings.rotate
    most = torch.tensor([settings.brightness, settings.contrast, settings.saturation])
    colour = (2 * uniform[:, 4:7] - 1) * most
    noise = torch.zeros(crops, 0)
    if settings.noise:
        strength = settings.noise * torch.rand(crops, 1, 1, 1, generator=generator)
        noise = strength * torch.randn(crops, 3, size, size, generator=generator)
    return torch.cat([side[:, None], centre, angle[:, None]], 1), colour, noise


def _sides(settings: Augmentation, uniform: Tensor, generator: torch.Generator) -> Tensor:
    """Sides of the crops (crops,), as shares, from as many numbers of 0 to 1."""
    low, high = settings.crop
    if settings.crop_normal is not None:
        mean, spread = settings.crop_normal
        return (mean + spread * torch.randn(len(uniform), generator=generator)).clamp(low, high)
    if settings.scales == "even":
        return low * (high / low) ** ((torch.arange(len(uniform)) + uniform) / len(uniform))
    return low + (high - low) * uniform


def views(
    canvas: Tensor, settings: Augmentation, generators: Sequence[torch.Generator], crops: int, size: int
) -> Tensor:
    """Show canvases as the backbones will see them.

    Args:
        canvas: (n, 3, H, W), 0..1.
        settings: the augmentation.
        generators: one a canvas; equal states give equal draws.
        crops: views a canvas.
        size: side of a view in pixels.

    Returns:
        (n, crops, 3, size, size). What a rotation or shift brings in from outside the canvas is its reflection.
    """
    n = len(canvas)
    drawn = [draw(settings, generator, crops, size) for generator in generators]
    geometry, colour, noise = (torch.cat(part).to(canvas.device) for part in zip(*drawn, strict=True))
    warped = _warped(canvas, geometry, size)
    if settings.brightness:
        warped = adjust_brightness(warped, colour[:, 0])
    if settings.contrast:
        warped = adjust_contrast(warped, 1 + colour[:, 1])
    if settings.saturation:
        warped = adjust_saturation(warped, 1 + colour[:, 2])
    if settings.noise:
        warped = warped + noise
    return warped.unflatten(0, (n, crops))


def _warped(canvas: Tensor, geometry: Tensor, size: int) -> Tensor:
    """Crops (n * crops, 3, size, size) of canvases (n, 3, H, W), each from a canvas about as fine as it is itself.

    Warping samples points: a crop of the whole of a canvas of 512 px, shown at 224, would see every other one.
    """
    crops = len(geometry) // len(canvas)
    owners = torch.arange(len(geometry), device=canvas.device) // crops
    pixels = geometry[:, 0] * min(canvas.shape[-2:]) / size  # of the canvas, for one of the view
    halvings = pixels.log2().round().clamp_min(0).long()
    warped = canvas.new_empty(len(geometry), 3, size, size)
    for level in halvings.unique().tolist():
        rows = (halvings == level).nonzero()[:, 0]
        coarser = _halved(canvas, level)
        warped[rows] = warp_affine(
            coarser.index_select(0, owners[rows]),
            _matrices(geometry[rows], coarser.shape[-2:], size),
            (size, size),
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        )
    return warped


def _halved(canvas: Tensor, times: int) -> Tensor:
    """Canvases of half the side so many times, antialiased."""
    if times == 0:
        return canvas
    height, width = (max(1, round(side / 2**times)) for side in canvas.shape[-2:])
    return functional.interpolate(canvas, (height, width), mode="area")


def _matrices(geometry: Tensor, shape: Sequence[int], size: int) -> Tensor:
    """kornia's (views, 2, 3) matrices, from canvas pixels to view pixels."""
    side, x, y, degrees = geometry.unbind(1)
    height, width = shape
    scale = size / (side * min(height, width))
    cos, sin = torch.deg2rad(degrees).cos() * scale, torch.deg2rad(degrees).sin() * scale
    x, y, middle = x * width - 0.5, y * height - 0.5, (size - 1) / 2
    rows = [cos, -sin, middle - cos * x + sin * y, sin, cos, middle - sin * x - cos * y]
    return torch.stack(rows, 1).view(-1, 2, 3)
