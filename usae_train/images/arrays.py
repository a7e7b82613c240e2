"""Pictures as arrays: uint8 (H, W, 3) or floats 0..1, (3, H, W) or (H, W, 3), as canvases; canvases as uint8."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from usae_train.runtime.arrays import Array, floats_of, tensor_over
from usae_train.runtime.errors import UsageError

EXPECTED_ARRAY = "expected uint8 (H, W, 3), as PIL and imageio give it, or float 0..1, (3, H, W) or (H, W, 3)"
RANGE_TOLERANCE = (
    0.5  # of 0..1, and not refused: resampling with negative weights leaves black and white by up to a third
)


def canvas_of(picture: Array, what: str = "a picture") -> Tensor:
    """One picture as a canvas (3, H, W); a tensor is given back as it is.

    Args:
        picture: a tensor; or an array, uint8 of (H, W, 3), or float 0..1 of (3, H, W) or (H, W, 3).
        what: its name in a message.

    Raises:
        ValueError: for an array of another shape, other numbers or another range, or one that could be read either way.

    Example:
        >>> canvas_of(np.full((40, 60, 3), 255, np.uint8)).shape
        torch.Size([3, 40, 60])
    """
    if isinstance(picture, Tensor):
        return picture
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise UsageError(f"{what} is {kind_in_words(picture)}; {EXPECTED_ARRAY}")
    return canvases_of(picture[None], what)[0]


def canvases_of(pictures: Array, what: str = "a picture") -> Tensor:
    """Several pictures of one size as canvases (batch, 3, H, W); a tensor is given back as it is.

    Args:
        pictures: a tensor; or an array, as for `canvas_of`, with the batch first.
        what: the name of one in a message.

    Raises:
        ValueError: as `canvas_of`.
    """
    if isinstance(pictures, Tensor):
        return pictures
    if not isinstance(pictures, np.ndarray) or pictures.ndim != 4:
        raise UsageError(f"{what} is {kind_in_words(pictures)}; {EXPECTED_ARRAY}, with the batch first")
    first, last = pictures.shape[1] == 3, pictures.shape[3] == 3
    if pictures.dtype == np.uint8 and last:
        return tensor_over(pictures).permute(0, 3, 1, 2).to(torch.float32) / 255
    if pictures.dtype.kind != "f" or not (first or last):
        raise UsageError(f"{what} is {kind_in_words(pictures[0])}; {EXPECTED_ARRAY}")
    if first and last:
        raise UsageError(
            f"{what} is {kind_in_words(pictures[0])}, which is (3, H, W) as well as (H, W, 3); give a tensor (3, H, W)"
        )
    canvases = floats_of(pictures, what).float()  # on a CPU torch resizes no float16
    _check_range(canvases, what)
    return canvases if first else canvases.permute(0, 3, 1, 2)


def to_uint8(canvas: Tensor) -> Tensor:
    """Numbers 0..1 of any shape as the nearest of 256 levels, uint8 on the CPU; what is outside is the nearest end.

    A picture that was read from 8 bits comes back as it was: rounded down, 63 of the 256 levels became the next lower.
    """
    return (canvas.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)


def _check_range(canvases: Tensor, what: str) -> None:
    least, most = (bound.item() for bound in canvases.aminmax()) if canvases.numel() else (0.0, 0.0)
    if not (least >= -RANGE_TOLERANCE and most <= 1 + RANGE_TOLERANCE):  # NaN is neither
        raise UsageError(
            f"{what} has numbers from {least:.3g} to {most:.3g}; expected 0..1: divide levels by 255, and undo a mean "
            "and std that were taken off"
        )


def kind_in_words(value: Any) -> str:
    """An array by its numbers and shape, anything else by its type.

    Example:
        >>> kind_in_words(np.zeros((2, 5)))
        'float64 of shape (2, 5)'
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"of type {type(value).__name__}"
