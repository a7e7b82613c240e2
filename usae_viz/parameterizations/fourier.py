"""Fourier: coefficients scaled by 1/f, so that every frequency is as easy to change as natural pictures use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from usae_train.pictures.colour import from_canvas, to_canvas
from usae_viz.parameterizations.start import Parameterization, seeded_normal

# The picture is divided by it: the contrast at the start, and how far a step goes. Lucid's is 4
# (optvis/param/spatial.py), with which the demo's grey came out black and white, and its reds and dots at the ends of
# their channels; with 8 its textures are as easy to tell. What else is measured in this file was measured with 4.
CONTRAST = 8
CHOSEN_AT = 96, 1.5  # the size and the decay at which the rate and the standard deviation of the start were chosen


def frequencies(size: int) -> Tensor:
    """Distance from zero frequency, in cycles a pixel, in rfft2's layout (size, size // 2 + 1)."""
    return (torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()).sqrt()


def falling(size: int, decay: float) -> Tensor:
    """1/f^decay in rfft2's layout (size, size // 2 + 1), such that the contrast depends on neither size nor decay.

    Without that a canvas of 512 pixels had 2.3 times the contrast of one of 96, at the start and after as many steps,
    and a decay of 2 had 8.2 times that of 1.5: most of it in colours at their ends. The demo's pictures of 384 pixels
    were posters of a few colours, and fired no more for it (codes of 8.2 to 9.9, without it 8.3 to 10.3).
    """
    scale = frequencies(size).clamp_min(1 / size).pow(-decay) * size
    return scale * (_contrast(*CHOSEN_AT) / _contrast(size, decay))


def _contrast(size: int, decay: float) -> float:
    """Standard deviation of a picture from independent coefficients of variance 1 that fall so."""
    every = (torch.fft.fftfreq(size)[:, None].square() + torch.fft.fftfreq(size)[None].square()).sqrt()
    scale = every.clamp_min(1 / size).double().pow(-decay) * size
    return 2**0.5 * scale.square().sum().sqrt().item() / size**2


class FourierImage(Parameterization):
    """Canvases from Fourier coefficients (Olah et al. 2017, Feature Visualization, "preconditioning").

    Args:
        seeds: one picture a seed.
        size: side of the canvas in pixels.
        decay: how steeply the scale falls with frequency, 1/f^decay. With 1, lucid's, the demo's colours came out pale
            under fine noise (at a sixth of the contrast, too: that came with it then); with 1.5, Horama's, they are
            plain, and so are its stripes and dots.

    Example:
        >>> image = FourierImage(seeds=[0, 0, 1], size=96)
        >>> canvas = image()
        >>> canvas.shape, bool((canvas[0] == canvas[1]).all())
        (torch.Size([3, 3, 96, 96]), True)
    """

    # Twice and ten times lucid's: with its 0.05 and 0.01 the demo's stripes stayed at code 0.2 in one backbone, where
    # these reach 9.4 in the same 128 steps (one of 0.1 and 0.01: 8.2); measured with decay 1 on an earlier demo.
    learning_rate = 0.1
    START_STD = 0.1
    scale: Tensor

    def __init__(self, seeds: Sequence[int], size: int, decay: float = 1.5) -> None:
        super().__init__(seeds, size)
        self.register_buffer("scale", falling(size, decay), persistent=False)
        self.latent = nn.Parameter(self.START_STD * seeded_normal(seeds, 3, size, size // 2 + 1, 2))

    def draw(self, latent: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(latent) * self.scale
        return to_canvas(torch.fft.irfft2(spectrum, s=(self.size, self.size)) / CONTRAST)

    @torch.no_grad()
    def begin_at(self, canvas: Tensor) -> Self:
        spectrum = torch.fft.rfft2(from_canvas(canvas[None]) * CONTRAST) / self.scale
        self.latent.copy_(torch.view_as_real(spectrum).expand_as(self.latent))
        return self
