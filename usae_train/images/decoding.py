"""From a picture file to a canvas: upright, RGB, 8 bits per channel, on white."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from usae_train.files.regular import check_regular
from usae_train.images.kinds import FORMATS
from usae_train.images.levels import levels_of, to_eight_bits
from usae_train.runtime.errors import UsageError
from usae_train.runtime.shortage import shortage

if TYPE_CHECKING:
    from torch import Tensor


def read_picture(file: Path | BinaryIO, size: int, label: str | None = None) -> Tensor:
    """The centre square of a picture file, (3, size, size), 0..1: upright, RGB, transparency laid on white.

    Raises:
        ValueError: for a file that cannot be read; names it by its label.
    """
    return centre_square(read_whole(file, label), size)


def centre_square(picture: Image.Image, size: int) -> Tensor:
    """The centre square of an RGB picture as a canvas (3, size, size), 0..1."""
    import torch  # for what is above pictures are opened before it is loaded
    from torchvision.transforms.v2 import functional as transforms

    square = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    canvas: Tensor = transforms.to_dtype(transforms.pil_to_tensor(square), torch.float32, scale=True)
    return canvas


def read_whole(file: Path | BinaryIO, label: str | None = None) -> Image.Image:
    """All of a picture file at its own size: upright, RGB, transparency laid on white.

    Raises:
        ValueError: for a file that cannot be read; names it by its label.
    """
    name = str(label or file)
    if isinstance(file, Path):
        check_regular(file)
    with _damage_in_words(name):
        opened = Image.open(file, formats=FORMATS)
    with opened:
        return upright_rgb(opened, name)


def upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    """A picture as backbones are to see it, opened from a file or made in Python: upright, RGB, on white.

    Args:
        picture: of PIL's.
        name: what a message calls it.

    Raises:
        ValueError: for numbers of a range that it does not say, and for a damaged file.
    """
    try:
        levels = levels_of(picture)
    except UsageError as error:
        raise UsageError(f"{name} cannot be read: {error}") from error
    with _damage_in_words(name):
        upright = ImageOps.exif_transpose(picture)
    eight_bits = upright if levels is None else to_eight_bits(upright, levels)
    with _damage_in_words(name):
        return _on_white(eight_bits)


@contextmanager
def _damage_in_words(name: str) -> Iterator[None]:
    """What PIL raises of a damaged file as one line. Within it PIL alone is called: a fault of ours stays one.

    Raises:
        UsageError: then.
    """
    try:
        yield
    except UnidentifiedImageError as error:  # PIL names the object in memory, by which no two readings are alike
        raise UsageError(f"{name} cannot be read: it is not a picture of a kind that PIL knows") from error
    except Exception as error:  # a damaged file makes of PIL what it likes: a struct.error of one byte of EXIF, say
        if shortage(error) is not None:  # of memory or open files: the picture is none the worse
            raise
        raise UsageError(f"{name} cannot be read: {error or type(error).__name__}") from error


def _on_white(picture: Image.Image) -> Image.Image:
    """RGB; only what has transparency is laid on white, which takes three passes over all pixels."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
