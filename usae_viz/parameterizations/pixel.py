"""Pixels: every pixel its own parameter. Kept for comparison; its pictures are noisy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from usae_train.colour import to_canvas
from usae_viz.parameterizations.start import Parameterization, seeded_normal


class PixelImage(Parameterization):
    """Canvases from decorrelated colour, pixel by pixel.

    Args:
        seeds: one picture a seed.
        size: side of the canvas in pixels.
    """

    learning_rate = 0.05
    START_STD = 0.01  # lucid's

    def __init__(self, seeds: Sequence[int], size: int) -> None:
        super().__init__(seeds, size)
        self.pixels = nn.Parameter(self.START_STD * seeded_normal(seeds, 3, size, size))

    def forward(self) -> Tensor:
        return to_canvas(self.pixels)
