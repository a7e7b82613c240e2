"""The factors of the demo universe and their values, and what they come to on a grid of patches."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

# Linear light is not modelled: these are display values, 0..1. Chosen apart in hue or lightness, so that the scenes'
# lighting (0.56 to 1.29 times) turns none into another.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.08, 0.10),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.95, 0.90, 0.12),
    "green": (0.10, 0.62, 0.16),
    "cyan": (0.10, 0.80, 0.85),
    "blue": (0.10, 0.18, 0.85),
    "purple": (0.52, 0.14, 0.75),
    "pink": (0.98, 0.48, 0.75),
    "grey": (0.52, 0.52, 0.52),
}
TEXTURES: tuple[str, ...] = ("solid", "stripes", "checker", "dots", "grid", "speckle")
SHAPES: tuple[str, ...] = ("background", "circle", "square", "triangle", "star", "ring", "cross")
BACKGROUND = SHAPES.index("background")

PURE = 0.5  # a patch has a factor value when the value covers more than this share of it

FACTORS: dict[str, tuple[str, ...]] = {"colour": tuple(COLOURS), "texture": TEXTURES, "shape": SHAPES}
FACTOR_VALUES = [f"{factor}: {value}" for factor, values in FACTORS.items() for value in values]


def patch_shares(labels: Tensor, n_values: int, grid: tuple[int, int]) -> Tensor:
    """Share of each patch's pixels that has each value.

    Args:
        labels: (n, height, width) integer values.
        n_values: number of values the factor can take.
        grid: (rows, cols) of patches.

    Returns:
        (n, rows * cols, n_values), each row summing to 1.
    """
    one_hot = functional.one_hot(labels.long(), n_values).movedim(-1, 1).to(torch.float32)
    return functional.adaptive_avg_pool2d(one_hot, grid).flatten(2).mT


def patch_truth(labels: Mapping[str, Tensor], grid: tuple[int, int]) -> Tensor:
    """Which values cover more than half of which patches.

    Args:
        labels: {factor: (n, height, width) integer values}.
        grid: (rows, cols) of patches.

    Returns:
        (n, rows * cols, factor values) bool, in the order of `FACTOR_VALUES`.
    """
    shares = [patch_shares(labels[factor], len(values), grid) for factor, values in FACTORS.items()]
    return torch.cat(shares, -1) > PURE
