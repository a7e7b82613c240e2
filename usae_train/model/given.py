"""What a caller of Python hands over as a USAE or as pictures, checked in a line."""

from __future__ import annotations

from pathlib import Path

from usae_train.images.sources import ImageSource, open_images
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError


def check_usae(usae: object) -> None:
    """Nothing; a UsageError for what is no USAE, such as its name."""
    if not isinstance(usae, USAE):
        raise UsageError(f"usae is {usae!r}; expected a USAE, such as usae_train.load('demo') gives")


def source_of(images: str | Path | ImageSource, limit: int | None = None) -> ImageSource:
    """Pictures that are named are opened; a source stays as it is.

    Args:
        images: what `open_images` takes, or a source.
        limit: of what is named, at most so many.

    Raises:
        UsageError: for what is neither, or a limit of a source that is open already.
    """
    if isinstance(images, str | Path):
        return open_images(images, limit)
    if not all(hasattr(images, name) for name in ("read", "fingerprint", "label", "__len__")):
        kind = type(images).__name__
        raise UsageError(
            f"pictures are of type {kind}; expected a folder, `demo`, or what usae_train.open_images gives"
        )
    if limit is not None:
        raise UsageError(f"limit is of pictures that are named; of a source that is open take a slice, [:{limit}]")
    return images
