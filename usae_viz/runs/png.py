"""PNGs that know their settings and scores: a text chunk inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kornia.filters import gaussian_blur2d
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.files.json_files import as_object, parse_json
from usae_train.pictures.colour import levels


def write_png(file: Path, canvas: Tensor, about: Mapping[str, Any], alpha: Tensor | None = None) -> None:
    """Write a canvas (3, H, W) with its settings and scores inside (text chunk `usae`, JSON).

    Args:
        file: the .png.
        canvas: 0..1.
        about: what it keeps inside.
        alpha: (H, W), 0..1, what the gradient asked for: becomes the transparency, see `opacity`.
    """
    picture = to_picture(canvas)
    if alpha is not None:
        picture.putalpha(Image.fromarray(levels(opacity(alpha)).numpy()))
    save_png(file, picture, about)


def save_png(file: Path, picture: Image.Image, about: Mapping[str, Any]) -> None:
    """Write a picture with what it is about inside (text chunk `usae`, JSON), whole or not at all."""
    info = PngInfo()
    info.add_itxt("usae", json.dumps(about))
    with atomic_path(file) as temporary:
        picture.save(temporary, "PNG", pnginfo=info)


def read_png(file: Path) -> dict[str, Any]:
    """The settings and scores inside a PNG of ours.

    Raises:
        ValueError: for a file that is none.
    """
    try:
        with Image.open(file) as picture:
            text = picture.info.get("usae")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as a picture: {error}") from error
    try:
        return as_object(parse_json(text if isinstance(text, str) else ""))
    except ValueError as error:
        why = f" that can be read ({error})" if text else ""
        raise ValueError(f"{file} has no settings inside{why}; expected a PNG that usae-viz wrote") from error


def check_whole(file: Path) -> None:
    """Nothing for a PNG of which every part is there as it was written: each has its checksum.

    Raises:
        ValueError: for one that is cut off or damaged; `read_png` asks for what stands at its beginning alone.
    """
    try:
        with Image.open(file) as picture:
            picture.verify()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is cut off or damaged: {error}; draw it again") from error


def rename_png(old: Path, new: Path, names: Mapping[str, Any]) -> None:
    """Write a PNG of ours again under another name; what it says of itself is changed by `names`."""
    about = {**read_png(old), **names}
    with Image.open(old) as picture:
        picture.load()
        save_png(new, picture, about)


def opacity(alpha: Tensor) -> Tensor:
    """Smooth what the gradient asked for, (H, W), and stretch its 10th to 90th percentile over 0..1."""
    side = max(3, 2 * (min(alpha.shape) // 16) + 1)
    smooth = gaussian_blur2d(alpha[None, None].float(), (side, side), (side / 4, side / 4))[0, 0]
    low, high = smooth.quantile(0.1), smooth.quantile(0.9)
    return ((smooth - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)


def to_picture(canvas: Tensor) -> Image.Image:
    """(3, H, W), 0..1 -> a picture of the nearest 8-bit levels."""
    return Image.fromarray(levels(canvas).permute(1, 2, 0).contiguous().numpy())
