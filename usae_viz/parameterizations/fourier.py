"""Fourier: coefficients scaled by 1/f, so that every frequency is as easy to change as natural pictures use it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from usae_train.colour import to_canvas
from usae_viz.parameterizations.start import Parameterization, seeded_normal


def frequencies(size: int) -> Tensor:
    """Distance from zero frequency, in cycles a pixel, in rfft2's layout (size, size // 2 + 1)."""
    return (torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()).sqrt()


class FourierImage(Parameterization):
    """Canvases from Fourier coefficients (Olah et al. 2017, Feature Visualization, "preconditioning").

    Args:
        seeds: one picture a seed.
        size: side of the canvas in pixels.
        alpha: how steeply the scale falls with frequency, 1/f^alpha.
    """

    # Twice and ten times lucid's: with its 0.05 and 0.01 the demo's stripes stayed at code 0.2 in one backbone, where
    # these reach 9.4 in the same 128 steps (one of 0.1 and 0.01: 8.2).
    learning_rate = 0.1
    START_STD = 0.1
    scale: Tensor

    def __init__(self, seeds: Sequence[int], size: int, alpha: float = 1.0) -> None:
        super().__init__(seeds, size)
        self.size = size
        scale = frequencies(size).clamp_min(1 / size).pow(-alpha) * size
        self.register_buffer("scale", scale, persistent=False)
        self.coefficients = nn.Parameter(self.START_STD * seeded_normal(seeds, 3, size, size // 2 + 1, 2))

    def forward(self) -> Tensor:
        spectrum = torch.view_as_complex(self.coefficients) * self.scale
        decorrelated = torch.fft.irfft2(spectrum, s=(self.size, self.size))
        return to_canvas(decorrelated / 4)  # lucid's contrast at the start
