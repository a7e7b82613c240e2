"""A picture as Python code gives one: a file, an open file, a PIL image, an array or a tensor; read here alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

from PIL import Image

from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.images.decoding import centre_square, read_whole, upright_rgb
from usae_train.runtime.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from usae_train.runtime.arrays import Array

    Picture = Array | Image.Image | BinaryIO | str | Path

EXPECTED_PICTURE = "a picture's file, a PIL image, a NumPy array, or a tensor (3, H, W), float 0..1"


def open_picture(picture: Picture, what: str = "picture") -> Image.Image | Tensor:
    """A file or a PIL image as an RGB one, upright, of its own size; an array or tensor as a canvas (3, H, W), 0..1.

    Args:
        picture: as above; an array is uint8 (H, W, 3), or float 0..1 of (3, H, W) or (H, W, 3).
        what: its name in a message.

    Raises:
        ValueError: for a file that is not there or cannot be read, numbers of another shape or range, or for
            anything else.
    """
    if isinstance(picture, str | Path):
        return read_named(picture, what)
    if isinstance(picture, Image.Image):
        return upright_rgb(picture, name_of(picture, what))
    if _can_be_read(picture):
        return read_whole(picture, f"the {what}")
    from usae_train.images.arrays import canvas_of  # with torch, which pictures that are named do without
    from usae_train.runtime.arrays import is_array

    if not is_array(picture):
        raise UsageError(f"a {what} of type {type(picture).__name__}; expected {EXPECTED_PICTURE}")
    return check_canvas(canvas_of(picture, f"a {what}"), f"a {what}")


def read_named(name: str | Path, what: str = "picture") -> Image.Image:
    """A picture's file, all of it: RGB, upright, of its own size.

    Raises:
        ValueError: for a file that is not there, or cannot be read.
    """
    file = path_of_name(name)
    if not file.exists():
        raise UsageError(f"no {what} {str(name)!r}: there is no such file")
    return read_whole(file)


def name_of(picture: Image.Image, otherwise: str) -> str:
    """What a picture is called: the file that PIL opened it from."""
    return name_as_utf8(Path(str(getattr(picture, "filename", "") or otherwise)).name)


def square_canvas(picture: Image.Image | Tensor, size: int) -> Tensor:
    """The centre square of what was opened, (3, size, size), float 0..1."""
    if isinstance(picture, Image.Image):
        return centre_square(picture, size)
    from torch.nn import functional

    side = min(picture.shape[1:])
    above, left = ((length - side) // 2 for length in picture.shape[1:])
    square = picture.detach().float()[:, above : above + side, left : left + side]
    if side == size:
        return square
    return functional.interpolate(square[None], (size, size), mode="bilinear", antialias=True).clamp(0, 1)[0]


def check_canvas(canvas: Tensor, what: str = "a picture") -> Tensor:
    """The same tensor.

    Raises:
        ValueError: for one that is not a canvas (3, H, W) of floating-point numbers from 0 to 1.
    """
    if canvas.ndim != 3 or canvas.shape[0] != 3 or canvas.numel() == 0 or not canvas.is_floating_point():
        raise UsageError(f"{what} of shape {tuple(canvas.shape)}; expected (3, H, W), float 0..1")
    if not (canvas.min() >= 0 and canvas.max() <= 1):  # NaN is in no range
        raise UsageError(f"{what} from {canvas.min():.3g} to {canvas.max():.3g}; expected float 0..1")
    return canvas


def _can_be_read(picture: Any) -> TypeGuard[BinaryIO]:
    return callable(getattr(picture, "read", None)) and callable(getattr(picture, "seek", None))
