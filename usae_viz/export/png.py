"""PNGs that know their settings and scores: a text chunk inside."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from usae_train.files.atomic import write_atomically
from usae_train.files.json_files import as_object, parse_json
from usae_train.files.regular import check_regular
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.runtime.shortage import shortage

if TYPE_CHECKING:
    from torch import Tensor


def write_png(file: Path, canvas: Tensor, metadata: Mapping[str, Any], alpha: Tensor | None = None) -> None:
    """Write a canvas (3, H, W), 0..1, with its settings and scores inside (text chunk `usae`, JSON).

    `alpha` (H, W), 0..1, what the gradient asked for, becomes the transparency, see `opacity`.
    """
    from usae_train.images.arrays import to_uint8  # imports torch, which reading a PNG does not need

    picture = to_picture(canvas)
    if alpha is not None:
        picture.putalpha(Image.fromarray(to_uint8(opacity(alpha)).numpy()))
    save_png(file, picture, metadata)


def save_png(file: Path, picture: Image.Image, metadata: Mapping[str, Any]) -> None:
    """Write a picture with its metadata inside (text chunk `usae`, JSON), whole or not at all."""
    write_atomically(file, _png_bytes(picture, metadata))


def _png_bytes(picture: Image.Image, metadata: Mapping[str, Any]) -> bytes:
    info, content = PngInfo(), io.BytesIO()
    info.add_itxt("usae", json_text(metadata))
    picture.save(content, "PNG", pnginfo=info)
    return content.getvalue()


@contextmanager
def open_png(file: Path, fault: str = "cannot be read as a picture", advice: str = "") -> Iterator[Image.Image]:
    """A PNG opened, its pixels not yet read: the only way to read a picture of a run, which may come from a stranger.

    Whatever a file is called, it is decoded as PNG alone: PIL has readers for many kinds, some of which start other
    programs. What PIL raises within it becomes an error about the file, so nothing but reading the file belongs in
    it.

    Raises:
        ValueError: for a file that is missing, not a PNG or broken (with `fault` and `advice`), a pipe or a device.
    """
    check_regular(file)
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            yield picture
    except FileNotFoundError as error:
        raise UsageError(f"no picture {str(file)!r}: there is no such file{advice}") from error
    except UnidentifiedImageError as error:
        raise UsageError(f"{file} {fault}: it is not a PNG; expected one that usae-viz wrote{advice}") from error
    except Exception as error:  # a damaged file can raise anything in PIL
        if shortage(error) is not None:
            raise
        raise UsageError(f"{file} {fault}: {error}{advice}") from error


def read_pixels(file: Path) -> Image.Image:
    """A PNG with all its pixels.

    Raises:
        ValueError: as `open_png`.
    """
    with open_png(file) as picture:
        picture.load()
        return picture.copy()


def read_png(file: Path) -> dict[str, Any]:
    """The settings and scores inside a PNG that usae-viz wrote.

    Raises:
        ValueError: for a file that is not such a PNG.
    """
    with open_png(file) as picture:
        text = picture.info.get("usae")
    try:
        return as_object(parse_json(text if isinstance(text, str) else ""))
    except UsageError as error:
        why = f" that can be read ({error})" if text else ""
        raise UsageError(f"{file} has no settings inside{why}; expected a PNG that usae-viz wrote") from error


def check_whole(file: Path) -> None:
    """Raise a ValueError for a PNG that is cut off or damaged; `read_png` reads its beginning alone."""
    with open_png(file, "is cut off or damaged", "; draw it again") as picture:
        picture.verify()


def rewrite_png(old: Path, new: Path, names: Mapping[str, Any]) -> None:
    """Write a PNG again under another name, with the metadata changed by `names`."""
    write_atomically(new, png_with(old, names))


def png_with(old: Path, names: Mapping[str, Any]) -> bytes:
    """What `rewrite_png` would write."""
    return _png_bytes(read_pixels(old), {**read_png(old), **names})


def opacity(alpha: Tensor) -> Tensor:
    """Smooth what the gradient asked for, (H, W), and stretch its 10th to 90th percentile over 0..1."""
    from kornia.filters import gaussian_blur2d

    side = max(3, 2 * (min(alpha.shape) // 16) + 1)
    smooth = gaussian_blur2d(alpha[None, None].float(), (side, side), (side / 4, side / 4))[0, 0]
    low, high = smooth.quantile(0.1), smooth.quantile(0.9)
    return ((smooth - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)


def to_picture(canvas: Tensor) -> Image.Image:
    """(3, H, W), 0..1 -> a picture of the nearest 8-bit levels."""
    from usae_train.images.arrays import to_uint8

    return Image.fromarray(to_uint8(canvas).permute(1, 2, 0).contiguous().numpy())
