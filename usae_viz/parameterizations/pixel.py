"""Pixels: every pixel its own parameter. Kept for comparison; its pictures are noisy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from usae_train.images.colour import from_canvas, to_canvas
from usae_viz.parameterizations.start import Parameterization, seeded_normal


class PixelImage(Parameterization):
    """Canvases from decorrelated colour, pixel by pixel.

    Args:
        seeds: one picture per seed.
        size: side of the canvas in pixels.

    Example:
        >>> PixelImage(seeds=[0, 1], size=32)().shape
        torch.Size([2, 3, 32, 32])
    """

    learning_rate = 0.05
    START_STD = 0.01  # lucid's

    def __init__(self, seeds: Sequence[int], size: int) -> None:
        super().__init__(seeds, size)
        self.latent = nn.Parameter(self.START_STD * seeded_normal(seeds, 3, size, size))

    def draw(self, latent: Tensor) -> Tensor:
        return to_canvas(latent)

    @torch.no_grad()
    def begin_at(self, canvas: Tensor) -> Self:
        self.latent.copy_(from_canvas(canvas[None]).expand_as(self.latent))
        return self
