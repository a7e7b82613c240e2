"""A map laid over its photograph: what the concept fires at keeps its light, the rest is dimmed."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from usae_train.images.arrays import to_uint8
from usae_viz.explanations.photograph import Photograph

DIM = (8, 10, 16)  # as the explorer's spotlight
DARKEST = 180  # of 255; the rest of the photograph stays visible
LIGHT_OUTSIDE = 0.15  # light of what the backbones are not shown


def light_of(codes: Tensor) -> Tensor:
    """The light that each patch keeps, 0..1, of codes (rows, cols); the root keeps weak ones visible."""
    return (codes.float() / codes.max().clamp_min(1e-6)).clamp(0, 1).sqrt()


def spotlight(photograph: Photograph, codes: Tensor, size: tuple[int, int]) -> Image.Image:
    """The whole photograph, at a size in pixels, under a map (rows, cols) of the square that the backbones saw.

    Each patch of the map, at the backbone's own grid, is a rectangle: nothing finer is known.
    """
    width, height = size
    scale = width / photograph.whole.width
    left, top, side = (round(edge * scale) for edge in photograph.square)
    side = max(1, side)  # where a photograph is nearly a line
    light = torch.full((height, width), LIGHT_OUTSIDE)
    patches = Image.fromarray(to_uint8(light_of(codes)).numpy()).resize((side, side), Image.Resampling.NEAREST)
    cover = Image.fromarray(to_uint8(light).numpy())
    cover.paste(patches, (left, top))
    cover = cover.point([round(255 - (255 - each) * DARKEST / 255) for each in range(256)])
    return Image.composite(scaled(photograph, size), Image.new("RGB", size, DIM), cover)


def scaled(photograph: Photograph, size: tuple[int, int]) -> Image.Image:
    """The photograph at another size."""
    return photograph.whole.resize(size, Image.Resampling.LANCZOS)


def fitted_size(photograph: Photograph, max_side: int) -> tuple[int, int]:
    """Width and height at its own aspect, the longer side `max_side` pixels, neither less than 1."""
    width, height = photograph.whole.size
    scale = max_side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
