"""Fourier: coefficients scaled by 1/f, so that every frequency is as easy to change as natural pictures use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from usae_train.images.colour import from_canvas, to_canvas
from usae_viz.parameterizations.start import Parameterization, seeded_normal

# Root mean square of a picture in decorrelated logits, which is held while it is drawn: steps turn its contents, not
# its contrast. Crops of photographs have 1.6 without their mean colour. Left free, as the field has it, 4% of the
# channels of ImageNet's classes, drawn through EfficientNet-Lite0, are at their ends, in colours that no photo has; at
# 1.5 0.1%, at 2 0.3%, and both are read alike. The demo's scenes are all colour (4.3): at 1.5 its reds came out pale
# beside the opposite colour, and green was read as grey.
CONTRAST = {"photographs": 1.5, "demo": 4.0}
# A picture that is started from has a contrast of its own, and is free. Its coefficients are in this unit, of which a
# step goes as far as it did when accentuation was tuned by eye (a rate of 0.1 at a unit of 1/8).
FREE_SCALE = 20
FREE_SCALE_CHOSEN_AT = 96, 1.5  # the size and the decay at which that unit was chosen


def frequencies(size: int) -> Tensor:
    """Distance from zero frequency, in cycles per pixel, in rfft2's layout (size, size // 2 + 1)."""
    distance: Tensor = (torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()).sqrt()
    return distance


def frequency_scale(size: int, decay: float) -> Tensor:
    """1/f^decay in rfft2's layout (size, size // 2 + 1), such that the contrast depends on neither size nor decay.

    For a picture that is started from: a step of the same length changes it alike, whatever its size.
    """
    scale = frequencies(size).clamp_min(1 / size).pow(-decay) * size
    return scale * (_contrast(*FREE_SCALE_CHOSEN_AT) / _contrast(size, decay))


def _contrast(size: int, decay: float) -> float:
    """Standard deviation of a picture from independent coefficients of variance 1 that fall so."""
    every = (torch.fft.fftfreq(size)[:, None].square() + torch.fft.fftfreq(size)[None].square()).sqrt()
    scale = every.clamp_min(1 / size).double().pow(-decay) * size
    return float(2**0.5 * scale.square().sum().sqrt().item() / size**2)


class FourierImage(Parameterization):
    """Canvases of held contrast from Fourier coefficients (Olah et al. 2017, Feature Visualization).

    Args:
        seeds: one picture per seed.
        size: side of the canvas in pixels.
        decay: how steeply the scale falls with frequency, 1/f^decay. With 1, lucid's, four real classes were read with
            probability 0.32 in crops of 0.3 of the side and 13% of the channels were clipped; with 1.5, Horama's, 0.46
            and 6%; with 2 they were read from no distance (0.60 for the whole, 0.25).
        contrast: root mean square of the picture in decorrelated logits, all channels together.

    Example:
        >>> image = FourierImage(seeds=[0, 0, 1], size=96)
        >>> canvas = image()
        >>> canvas.shape, bool((canvas[0] == canvas[1]).all())
        (torch.Size([3, 3, 96, 96]), True)
    """

    # As above, probabilities with 0.25 are 1.00, 1.00, 0.95 and 0.56 for the whole and crops of 0.7, 0.5 and 0.3; with
    # 0.5 1.00, 0.99, 0.94, 0.45; with 1 0.85 for the whole.
    learning_rate = 0.25
    scale: Tensor

    def __init__(
        self, seeds: Sequence[int], size: int, decay: float = 1.5, contrast: float = CONTRAST["photographs"]
    ) -> None:
        super().__init__(seeds, size)
        self.register_buffer("scale", frequency_scale(size, decay), persistent=False)
        self.contrast: float | None = contrast
        self.latent = nn.Parameter(seeded_normal(seeds, 3, size, size // 2 + 1, 2))

    def draw(self, latent: Tensor) -> Tensor:
        picture = torch.fft.irfft2(torch.view_as_complex(latent) * self.scale, s=(self.size, self.size))
        if self.contrast is None:
            return to_canvas(picture / FREE_SCALE)
        return to_canvas(picture * (self.contrast / picture.square().mean((1, 2, 3), keepdim=True).sqrt()))

    @torch.no_grad()
    def begin_at(self, canvas: Tensor) -> Self:
        """Start at a picture, and hold its contrast no longer: it may be that of a surface of one colour."""
        self.contrast = None
        spectrum = torch.fft.rfft2(from_canvas(canvas[None]) * FREE_SCALE) / self.scale
        self.latent.copy_(torch.view_as_real(spectrum).expand_as(self.latent))
        return self
