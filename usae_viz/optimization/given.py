"""Pictures that a drawing starts from or is compared with: a tensor, or a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from usae_train.files.place_names import named_place
from usae_train.images.arrays import canvas_of
from usae_train.images.decoding import read_picture
from usae_train.runtime.arrays import Array
from usae_train.runtime.errors import UsageError

GivenImage = Array | str | Path  # (3, H, W), 0..1; an array as `canvas_of` takes it; or a file


def open_given(picture: GivenImage) -> Tensor | str | Path:
    """A picture as it is, or where it is an array, its canvas (3, H, W).

    Raises:
        ValueError: for what is no picture, or an array of another shape.
    """
    if isinstance(picture, str | Path | Tensor):
        return picture
    if not isinstance(picture, np.ndarray):
        kind = type(picture).__name__
        raise UsageError(f"a picture of type {kind}; expected a tensor (3, H, W), 0..1, a NumPy array or a file")
    return canvas_of(picture)


def setting_of(picture: Tensor | str | Path) -> str:
    """How the settings name a picture: its file, or the hash of its numbers."""
    if isinstance(picture, str | Path):
        return str(picture)
    digest = hashlib.sha256(picture.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()
    return f"tensor of sha256 {digest}"


def given_canvas(given: Tensor | None, file: str | None, size: int, device: torch.device) -> Tensor | None:
    """A picture (3, size, size) from a tensor or a file."""
    if given is None:
        return None if file is None else read_picture(named_place(file), size).to(device)
    given = checked_canvas(given).detach().float().to(device)
    if given.shape[1:] == (size, size):
        return given
    return functional.interpolate(given[None], (size, size), mode="bilinear", antialias=True).clamp(0, 1)[0]


def checked_canvas(given: Tensor, what: str = "a picture") -> Tensor:
    """The same tensor.

    Raises:
        ValueError: for one that is no canvas (3, H, W) of floating-point numbers from 0 to 1.
    """
    if given.ndim != 3 or given.shape[0] != 3 or given.numel() == 0 or not given.is_floating_point():
        raise UsageError(f"{what} of shape {tuple(given.shape)}; expected (3, H, W), float 0..1")
    if not (given.min() >= 0 and given.max() <= 1):  # NaN is in no range
        raise UsageError(f"{what} from {given.min():.3g} to {given.max():.3g}; expected float 0..1")
    return given
