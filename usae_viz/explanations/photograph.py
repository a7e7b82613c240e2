"""A photograph as a person has it, and the centre square of it that backbones are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.images.decoding import centre_square
from usae_train.images.picture_input import name_of, open_picture

if TYPE_CHECKING:
    from torch import Tensor

    from usae_train.images.picture_input import Picture


@dataclass(frozen=True)
class Photograph:
    """A photograph at its own aspect and size."""

    name: str
    whole: Image.Image = field(repr=False)  # RGB, upright

    def canvas(self, size: int) -> Tensor:
        """What backbones are shown, (1, 3, size, size), 0..1: the centre square, as all commands take it."""
        return centre_square(self.whole, size)[None]

    @property
    def square(self) -> tuple[int, int, int]:
        """Left, top and side in pixels of the square that backbones are shown."""
        width, height = self.whole.size
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side


if TYPE_CHECKING:
    Photo = Picture | Photograph


def open_photograph(photo: Photo) -> Photograph:
    """A photograph from whatever a picture may be given as, or one that is open already, as it is.

    Raises:
        ValueError: as `open_picture`.
    """
    if isinstance(photo, Photograph):
        return photo
    whole = open_picture(photo, "photograph")
    if isinstance(whole, Image.Image):
        return Photograph(_name_of(photo), whole)
    from usae_viz.export.png import to_picture  # imports torch, which opening a file does not need

    return Photograph("photograph", to_picture(whole))


def _name_of(photo: Picture) -> str:
    if isinstance(photo, str | Path):
        return name_as_utf8(path_of_name(photo).name)
    return name_of(photo, "photograph") if isinstance(photo, Image.Image) else "photograph"
