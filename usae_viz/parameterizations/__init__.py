"""What the optimizer really changes: modules whose `forward` takes nothing and gives canvases."""

from __future__ import annotations

from collections.abc import Sequence

from usae_viz.parameterizations.fourier import FourierImage
from usae_viz.parameterizations.maco import MacoImage
from usae_viz.parameterizations.pixel import PixelImage
from usae_viz.parameterizations.start import Parameterization

PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    "fourier": FourierImage,
    "maco": MacoImage,
    "pixel": PixelImage,
}


def parameterization(image: str, seeds: Sequence[int], size: int) -> Parameterization:
    """A parameterization by name, one picture a seed; equal seeds start equal.

    Raises:
        ValueError: for a name that does not exist.
    """
    if image not in PARAMETERIZATIONS:
        raise ValueError(f"unknown parameterization {image!r}; expected one of {', '.join(PARAMETERIZATIONS)}")
    return PARAMETERIZATIONS[image](seeds, size)


__all__ = ["PARAMETERIZATIONS", "FourierImage", "MacoImage", "Parameterization", "PixelImage", "parameterization"]
