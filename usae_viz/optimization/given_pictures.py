"""Pictures that a drawing starts from or is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, device

from usae_train.files.place_names import name_as_utf8
from usae_train.images.picture_input import open_picture, read_named, square_canvas
from usae_viz.settings import MaximizeSettings

if TYPE_CHECKING:
    from PIL import Image

    from usae_train.images.picture_input import Picture

IN_NO_FILE = ("tensor of sha256", "picture of sha256")  # how settings name a picture that no command can find again


def name_given_pictures(
    settings: MaximizeSettings, pictures_by_name: Mapping[str, Picture | None]
) -> tuple[MaximizeSettings, dict[str, Image.Image | Tensor | str | Path]]:
    """Settings that name the pictures which are given beside them, so that records do; and those, opened once.

    What the settings name as `start` or `reference` already gives way to what is given.

    Raises:
        ValueError: for what is not a picture, or an array of another shape.
    """
    opened = {
        name: picture if isinstance(picture, str | Path) else open_picture(picture)  # settings keep a file's name
        for name, picture in pictures_by_name.items()
        if picture is not None
    }
    return settings.model_copy(update={name: setting_of(picture) for name, picture in opened.items()}), opened


def setting_of(picture: Image.Image | Tensor | str | Path) -> str:
    """How the settings name a picture: its file, or the hash of its numbers."""
    if isinstance(picture, str | Path):
        return name_as_utf8(str(picture))
    if isinstance(picture, Tensor):
        numbers = picture.detach().cpu().float().contiguous().numpy().tobytes()
        return f"{IN_NO_FILE[0]} {hashlib.sha256(numbers).hexdigest()}"
    return f"{IN_NO_FILE[1]} {hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()}"


def whole_picture(picture: Picture | None, file: str | None) -> Image.Image | Tensor | None:
    """What is given, or else a file's picture; None without either. Networks are built after it, which takes longer."""
    if picture is None:
        return None if file is None else read_named(file)
    return open_picture(picture)


def canvas_at(picture: Image.Image | Tensor | None, size: int, on_device: device) -> Tensor | None:
    """Its centre square (3, size, size), float 0..1."""
    return None if picture is None else square_canvas(picture, size).to(on_device)
