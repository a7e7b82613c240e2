"""Pictures that a command was given: opened, and what of them is not taken is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usae_train.terminal import say_left_out

if TYPE_CHECKING:
    from usae_train.pictures.images import ImageSource


def open_pictures(images: str, limit: int | None = None, say: bool = True) -> ImageSource:
    """Open pictures, and say on stderr how many of what are there and left out.

    Args:
        images: what `open_images` takes.
        limit: take at most so many pictures.
        say: of processes that work as one, the first says it.

    Raises:
        ValueError: as `open_images` does.
    """
    from usae_train.pictures.images import open_images

    source = open_images(images, limit)
    if say:
        say_left_out(source.left_out)
    return source
