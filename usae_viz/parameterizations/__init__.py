"""What the optimizer really changes: modules whose `forward` takes nothing and gives canvases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from usae_train.runtime.errors import UsageError
from usae_viz.own_code.part import OwnPart
from usae_viz.parameterizations.coupled import CoupledImage
from usae_viz.parameterizations.fourier import FourierImage
from usae_viz.parameterizations.maco import MacoImage
from usae_viz.parameterizations.own import OwnImages
from usae_viz.parameterizations.pixel import PixelImage
from usae_viz.parameterizations.spectra import ANALYTIC, analytic_spectrum, spectrum_named
from usae_viz.parameterizations.start import Parameterization

PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    "fourier": FourierImage,
    "maco": MacoImage,
    "pixel": PixelImage,
}
BELONGS_TO = {"spectrum": "maco", "decay": "fourier", "contrast": "fourier"}  # settings of one parameterization alone


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
        ValueError: for a name that does not exist, a file that is not a spectrum, a spectrum without `maco`, or a decay
            or contrast without `fourier`.
    """
    if name not in PARAMETERIZATIONS:
        raise UsageError(f"unknown parameterization {name!r}; expected one of {', '.join(PARAMETERIZATIONS)}")
    fourier = {"decay": decay, "contrast": contrast}
    if (misplaced := misplaced_setting(name, {"spectrum": spectrum, **fourier})) is not None:
        raise UsageError(misplaced[1])
    if spectrum is not None:
        return MacoImage(seeds, size, spectrum_named(spectrum, size))
    if name == "fourier":
        return FourierImage(seeds, size, **{key: value for key, value in fourier.items() if value is not None})
    return PARAMETERIZATIONS[name](seeds, size)


def misplaced_setting(parameterization: str | OwnPart, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first setting that is given and belongs to another parameterization, and what to say of it; None for none.

    Args:
        parameterization: that is drawn with.
        settings: with the keys of `BELONGS_TO`, None where one is not given.
    """
    for name, owner in BELONGS_TO.items():
        if settings[name] is None or parameterization == owner:
            continue
        if isinstance(parameterization, OwnPart):
            return name, f"{name} is of a built-in parameterization, not of {parameterization.text!r}"
        what = f"a {name}" if name == "spectrum" else name
        return name, f"{what} is for the parameterization {owner}, not for {parameterization}"
    return None


__all__ = [
    "ANALYTIC",
    "PARAMETERIZATIONS",
    "CoupledImage",
    "FourierImage",
    "MacoImage",
    "OwnImages",
    "Parameterization",
    "PixelImage",
    "analytic_spectrum",
    "misplaced_setting",
    "parameterization",
]
