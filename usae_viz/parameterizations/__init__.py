"""What the optimizer really changes: modules whose `forward` takes nothing and gives canvases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from usae_train.spectrum import load_spectrum
from usae_viz.parameterizations.fourier import FourierImage
from usae_viz.parameterizations.maco import MacoImage
from usae_viz.parameterizations.pixel import PixelImage
from usae_viz.parameterizations.start import Parameterization

PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    "fourier": FourierImage,
    "maco": MacoImage,
    "pixel": PixelImage,
}


def parameterization(image: str, seeds: Sequence[int], size: int, spectrum: str | None = None) -> Parameterization:
    """A parameterization by name, one picture a seed; equal seeds start equal.

    Args:
        image: a key of `PARAMETERIZATIONS`.
        seeds: one picture a seed.
        size: side of the canvas in pixels.
        spectrum: for `maco`, a file of usae-train spectrum; the packaged one unless told.

    Raises:
        ValueError: for a name that does not exist, a file that is no spectrum, or a spectrum without `maco`.
    """
    if image not in PARAMETERIZATIONS:
        raise ValueError(f"unknown parameterization {image!r}; expected one of {', '.join(PARAMETERIZATIONS)}")
    if spectrum is None:
        return PARAMETERIZATIONS[image](seeds, size)
    if image != "maco":
        raise ValueError(f"a spectrum is for the parameterization maco, not for {image}")
    return MacoImage(seeds, size, load_spectrum(Path(spectrum)))


__all__ = ["PARAMETERIZATIONS", "FourierImage", "MacoImage", "Parameterization", "PixelImage", "parameterization"]
