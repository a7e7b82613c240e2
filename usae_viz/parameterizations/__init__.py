"""What the optimizer really changes: modules whose `forward` takes nothing and gives canvases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usae_train.runtime.errors import UsageError
from usae_viz.parameterizations.coupled import CoupledImage
from usae_viz.parameterizations.custom import CustomImages
from usae_viz.parameterizations.fourier import FourierImage
from usae_viz.parameterizations.maco import MacoImage
from usae_viz.parameterizations.pixel import PixelImage
from usae_viz.parameterizations.spectra import ANALYTIC, analytic_spectrum, spectrum_named
from usae_viz.parameterizations.start import Parameterization

PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    "fourier": FourierImage,
    "maco": MacoImage,
    "pixel": PixelImage,
}


def parameterization(
    name: str,
    seeds: Sequence[int],
    size: int,
    spectrum: str | None = None,
    decay: float | None = None,
    contrast: float | None = None,
) -> Parameterization:
    """A parameterization by name, one picture per seed; equal seeds start equal.

    Args:
        name: a key of `PARAMETERIZATIONS`.
        seeds: one picture per seed.
        size: side of the canvas in pixels.
        spectrum: for `maco`, `photographs`, `demo`, `1/f` or a file of usae-train spectrum; `photographs` by default.
        decay: for `fourier`, how steeply the scale of the coefficients falls with frequency; 1.5 by default.
        contrast: for `fourier`, the root mean square of the picture in decorrelated logits; 1.5 by default.

    Raises:
        ValueError: for a name that does not exist, or a file that is not a spectrum.
    """
    if name not in PARAMETERIZATIONS:
        raise UsageError(f"unknown parameterization {name!r}; expected one of {', '.join(PARAMETERIZATIONS)}")
    kind: Any = PARAMETERIZATIONS[name]  # which takes settings of its own; those of others are refused before
    magnitude = None if spectrum is None else spectrum_named(spectrum, size)
    settings = {"magnitude": magnitude, "decay": decay, "contrast": contrast}
    images: Parameterization = kind(seeds, size, **{key: value for key, value in settings.items() if value is not None})
    return images


__all__ = [
    "ANALYTIC",
    "PARAMETERIZATIONS",
    "CoupledImage",
    "CustomImages",
    "FourierImage",
    "MacoImage",
    "Parameterization",
    "PixelImage",
    "analytic_spectrum",
    "parameterization",
]
