"""The spectra of natural pictures that MACO holds magnitudes to: two that come with the package, 1/f, and files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from usae_train.files.place_names import path_of_name
from usae_train.files.provenance import file_hash, hash_of_named
from usae_train.images.spectrum import load_spectrum
from usae_viz.parameterizations.fourier import frequencies

ANALYTIC = "1/f"
ANALYTIC_STD = 1.0
# `photographs`: 943 crops of photographs (usae-train spectrum photos/train --size 224); of their energy, but for the
# mean colour, the three decorrelated channels have 37, 35 and 28%. `demo`: the demo's scenes (usae-train spectrum
# demo:train), which are all colour: 4, 36 and 60%.
PHOTOGRAPHS, DEMO = "photographs", "demo"
PACKAGED_SPECTRA = {name: Path(__file__).parent / "spectra" / f"{name}.safetensors" for name in (PHOTOGRAPHS, DEMO)}


def is_file(spectrum: str) -> bool:
    """Whether a name is a file's: it is neither a packaged spectrum nor `1/f`."""
    return spectrum != ANALYTIC and spectrum not in PACKAGED_SPECTRA


def spectrum_named(spectrum: str, size: int) -> Tensor:
    """A spectrum (3, s, s // 2 + 1) by name: `photographs`, `demo`, `1/f` (of side `size`), or a file.

    Raises:
        ValueError: for a file that is not a spectrum.
    """
    if spectrum == ANALYTIC:
        return analytic_spectrum(size)
    return packaged_spectrum(spectrum) if spectrum in PACKAGED_SPECTRA else load_spectrum(path_of_name(spectrum))


@cache
def packaged_spectrum(name: str = PHOTOGRAPHS) -> Tensor:
    """A spectrum that comes with the package: (3, 224, 113) of photographs, (3, 96, 49) of the demo's scenes."""
    return load_spectrum(PACKAGED_SPECTRA[name])


def spectrum_hash(spectrum: str | None) -> str:
    """Of the file; the analytic spectrum is a formula and stands for itself. None is that of photographs.

    Raises:
        ValueError: for a file that cannot be read.
    """
    if spectrum == ANALYTIC:
        return ANALYTIC
    packaged = PACKAGED_SPECTRA.get(spectrum or PHOTOGRAPHS)
    return hash_of_named(str(spectrum)) if packaged is None else file_hash(packaged)


def packaged_with(sha256: str | None) -> str | None:
    """The name of the packaged spectrum of a hash; None where it is none of them."""
    return next((name for name, file in PACKAGED_SPECTRA.items() if file_hash(file) == sha256), None)


def analytic_spectrum(size: int) -> Tensor:
    """A 1/f spectrum (3, size, size // 2 + 1), the same in each decorrelated colour channel, zero at zero frequency.

    Natural pictures' amplitudes fall as 1/f (Field 1987). The standard deviation of the picture in decorrelated logits
    is `ANALYTIC_STD`.
    """
    falling = 1 / frequencies(size).clamp_min(1 / size)
    falling[0, 0] = 0
    both_halves = torch.full((size // 2 + 1,), 2.0)  # rfft2 keeps one half; its first column, and an even side's last,
    both_halves[0] = 1  # stand for themselves
    if size % 2 == 0:
        both_halves[-1] = 1
    power = (falling.square() * both_halves).sum() / size**2  # orthonormal: mean square of the pixels
    return (falling * ANALYTIC_STD / power.sqrt()).expand(3, -1, -1).clone()
