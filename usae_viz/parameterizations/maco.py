"""MACO: magnitudes stay those of natural pictures, the optimizer turns phases (Fel et al. 2023, arXiv 2306.06805)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.images.colour import from_canvas, to_canvas
from usae_viz.parameterizations.spectra import packaged_spectrum
from usae_viz.parameterizations.start import Parameterization, seeded_normal


def spectrum_at(magnitude: Tensor, size: int) -> Tensor:
    """A spectrum (3, s, s // 2 + 1) read at the frequencies of another canvas size.

    In orthonormal units a frequency's magnitude, in cycles per pixel, does not depend on the size of the picture, but
    the canvas is looked at whole; so it is cycles per picture that are kept, and higher ones fall on as 1/f.
    """
    side = magnitude.shape[1]
    if size == side:
        return magnitude
    shifted = magnitude.roll(side // 2, dims=1)  # zero frequency to row side // 2
    cycles = torch.cat([torch.arange(0, (size + 1) // 2), torch.arange(-(size // 2), 0)]).float()
    across = torch.arange(size // 2 + 1).float()
    half = side // 2 - 1
    reach = torch.maximum(cycles[:, None].abs(), across[None]).clamp_min(half) / half  # 1 within the known frequencies
    rows = (cycles[:, None] / reach + side // 2) / (side - 1) * 2 - 1
    columns = (across[None] / reach) / (magnitude.shape[2] - 1) * 2 - 1
    places = torch.stack([columns, rows], -1)[None]
    magnitudes = functional.grid_sample(shifted[None], places, mode="bilinear", align_corners=True)[0]
    return magnitudes / reach * (size / side)


class MacoImage(Parameterization):
    """Canvases whose spectrum's magnitude is held to a template; only phases are learned.

    In the first column of the spectrum, and in the last of an even side, a real picture has fewer free numbers than
    there are phases: there the template is the upper bound of the magnitude.

    Args:
        seeds: one picture per seed.
        size: side of the canvas in pixels.
        magnitude: (3, s, s // 2 + 1), in decorrelated logits; that of photographs by default.

    Example:
        >>> from usae_viz.parameterizations import analytic_spectrum
        >>> image = MacoImage(seeds=[0], size=64, magnitude=analytic_spectrum(64))
        >>> magnitude = torch.fft.rfft2(image.decorrelated(image.latent), norm="ortho").abs()
        >>> bool((magnitude[0, :, :, 1:-1] - image.magnitude[:, :, 1:-1]).abs().max() < 1e-3)
        True
    """

    learning_rate = 0.1  # not tuned: that of Fourier, chosen by looking at pictures of the demo
    magnitude: Tensor

    def __init__(self, seeds: Sequence[int], size: int, magnitude: Tensor | None = None) -> None:
        super().__init__(seeds, size)
        template = spectrum_at(packaged_spectrum() if magnitude is None else magnitude, size)
        self.register_buffer("magnitude", template, persistent=False)
        self.latent = nn.Parameter(math.pi * seeded_normal(seeds, 3, size, size // 2 + 1))

    def decorrelated(self, latent: Tensor) -> Tensor:
        """(pictures, 3, H, W) before colour and squashing: |rfft2| is the template, off the columns named above."""
        spectrum = torch.polar(self.magnitude.expand_as(latent), latent)
        image: Tensor = torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho")
        return image

    def draw(self, latent: Tensor) -> Tensor:
        return to_canvas(self.decorrelated(latent))

    @torch.no_grad()
    def begin_at(self, canvas: Tensor) -> Self:
        """Start at a picture: its phases, and its own magnitudes as the template (so that it is drawn exactly)."""
        (spectrum,) = torch.fft.rfft2(from_canvas(canvas[None]), norm="ortho")
        self.magnitude = spectrum.abs()  # a new tensor: the template may be the packaged one, which others read
        self.latent.copy_(spectrum.angle().expand_as(self.latent))
        return self
