"""The natural patches in which a concept is strongest, with their surroundings."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.pictures.images import ImageSource, open_images
from usae_viz.runs.png import to_picture

MOST = 6  # natural patches a backbone
WINDOW = 0.34  # side of a natural patch with its surroundings, as a share of the picture


def natural_patches(usae: USAE, concept: int, source: ImageSource | None = None) -> dict[str, list[Image.Image]]:
    """The patches of natural pictures in which a concept is strongest, with their surroundings, a list a backbone.

    Args:
        usae: a USAE with statistics.
        concept: the concept.
        source: the pictures that the statistics were measured on; opened from the USAE's record unless given.

    Returns:
        {backbone: pictures}; empty without statistics, or when the pictures are not at hand or are others by now.
    """
    if usae.statistics is None or usae.images is None or usae.grid is None:
        return {}
    try:
        source = source or open_images(usae.images, limit=usae.n_images)
        if source.fingerprint() != usae.fingerprint:
            return {}
        size = max(backbone.input_size for backbone in usae.backbones.values())
        found: dict[str, list[Image.Image]] = {}
        for row, name in enumerate(usae.names):
            numbers = usae.statistics.top_images[row, concept].tolist()
            places = usae.statistics.top_tokens[row, concept].tolist()
            strongest = list(zip(numbers, places, strict=True))[:MOST]
            found[name] = [around(source.read(n, size), p, usae.grid) for n, p in strongest if n >= 0]
        return found
    except ValueError:  # the folder has moved: a sheet without patches says so
        return {}


def around(canvas: Tensor, token: int, grid: tuple[int, int]) -> Image.Image:
    """A patch of a canvas (3, H, W) with its surroundings: the token's place in the grid (rows, cols), inside."""
    _, height, width = canvas.shape
    top, left, side = _window(token, grid, height, width)
    return to_picture(canvas[:, top : top + side, left : left + side])


def inside_window(token: int, grid: tuple[int, int]) -> list[int]:
    """The tokens of which `around` shows at least half, in a square picture."""
    rows, cols = grid
    top, left, side = _window(token, grid, 1000, 1000)
    return [
        row * cols + col for row in range(rows) for col in range(cols)
        if top <= (row + 0.5) / rows * 1000 <= top + side and left <= (col + 0.5) / cols * 1000 <= left + side
    ]  # fmt: skip


def _window(token: int, grid: tuple[int, int], height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side of a patch with its surroundings, in pixels."""
    rows, cols = grid
    row, col = divmod(token, cols)
    side = max(1, round(WINDOW * min(height, width)))
    top = min(max(round((row + 0.5) / rows * height - side / 2), 0), height - side)
    left = min(max(round((col + 0.5) / cols * width - side / 2), 0), width - side)
    return top, left, side
