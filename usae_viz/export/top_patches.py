"""The top-activating patches in which a concept is strongest, with their surroundings."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from usae_train.model.natural import natural_pictures
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.export.png import to_picture

MAX_PATCHES = 6  # top-activating patches per backbone
WINDOW_SHARE = 0.34  # side of a top-activating patch with its surroundings, as a share of the picture


@with_torch_defaults
def top_patch_pictures(usae: USAE, concept: int) -> dict[str, list[Image.Image]]:
    """The top-activating patches of a concept, with their surroundings: {backbone: pictures}, see `natural_pictures`.

    Empty when no pictures are available.
    """
    natural, _ = natural_pictures(usae)
    if natural is None:
        return {}
    assert usae.grid is not None
    size = usae.input_size
    patches: dict[str, list[Image.Image]] = {}
    try:
        for row, name in enumerate(usae.names):
            strongest = natural.strongest(row, concept)[:MAX_PATCHES]
            patches[name] = [cut_patch(natural.source.read(n, size), place, usae.grid) for n, place in strongest]
    except UsageError:  # a picture is gone: the sheet then says that it has no patches
        return {}
    return patches


def cut_patch(canvas: Tensor | Image.Image, token: int, grid: tuple[int, int]) -> Image.Image:
    """A patch of a canvas (3, H, W) with its surroundings: the token's place in the grid (rows, cols), inside.

    Of a canvas that is a picture already, the same to the bit.
    """
    whole = canvas if isinstance(canvas, Image.Image) else to_picture(canvas)
    top, left, side = _window(token, grid, whole.height, whole.width)
    return whole.crop((left, top, left + side, top + side))


def inside_window(token: int, grid: tuple[int, int]) -> list[int]:
    """The tokens of which `cut_patch` shows at least half, in a square picture."""
    rows, cols = grid
    top, left, side = _window(token, grid, 1000, 1000)
    return [
        row * cols + col
        for row in range(rows)
        for col in range(cols)
        if top <= (row + 0.5) / rows * 1000 <= top + side and left <= (col + 0.5) / cols * 1000 <= left + side
    ]


def _window(token: int, grid: tuple[int, int], height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side of a patch with its surroundings, in pixels."""
    rows, cols = grid
    row, col = divmod(token, cols)
    side = max(1, round(WINDOW_SHARE * min(height, width)))
    top = min(max(round((row + 0.5) / rows * height - side / 2), 0), height - side)
    left = min(max(round((col + 0.5) / cols * width - side / 2), 0), width - side)
    return top, left, side
