"""A photograph as a person has it, and the centre square of it that backbones are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor

from usae_train.files.place_names import named_place, printable
from usae_train.images.arrays import canvas_of
from usae_train.images.decoding import centre_square, read_whole, upright_rgb
from usae_train.runtime.arrays import Array
from usae_train.runtime.errors import UsageError
from usae_viz.export.png import to_picture
from usae_viz.optimization.given import checked_canvas


@dataclass(frozen=True)
class Photograph:
    """A photograph at its own aspect and size."""

    name: str
    whole: Image.Image = field(repr=False)  # RGB, upright

    def canvas(self, size: int) -> Tensor:
        """What backbones are shown, (1, 3, size, size), 0..1: the centre square, as all commands take it."""
        return centre_square(self.whole, size)[None]

    @property
    def seen(self) -> tuple[int, int, int]:
        """Left, top and side in pixels of the square that backbones are shown."""
        width, height = self.whole.size
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side


Photo = str | Path | BinaryIO | Image.Image | Array | Photograph


def open_photograph(photo: Photo) -> Photograph:
    """A photograph from a file, a PIL image, an array, or a canvas (3, H, W), 0..1; one that is open already as it is.

    Raises:
        ValueError: for a file that cannot be read, or a tensor that is not a canvas.
    """
    if isinstance(photo, Photograph):
        return photo
    if isinstance(photo, Tensor | np.ndarray):
        canvas = canvas_of(photo, "a photograph")
        return Photograph("photograph", to_picture(checked_canvas(canvas, "a photograph")))
    if isinstance(photo, Image.Image):
        return _of_image(photo)
    if not isinstance(photo, str | Path):
        return Photograph("photograph", read_whole(photo, "the photograph"))
    file = named_place(photo)
    if file.is_dir():
        raise UsageError(f"{photo} is a folder; expected a photograph's file")
    if not file.exists():
        raise UsageError(f"no photograph {str(photo)!r}: there is no such file")
    return Photograph(printable(file.name), read_whole(file))


def _of_image(photo: Image.Image) -> Photograph:
    """One that PIL opened: what its file would come to."""
    name = printable(Path(str(getattr(photo, "filename", "") or "photograph")).name)
    try:
        return Photograph(name, upright_rgb(photo))
    except (OSError, SyntaxError, ValueError) as error:  # it is first read here, and may be cut off
        raise UsageError(f"{name} cannot be read: {error}") from error
