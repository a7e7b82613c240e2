"""Sizes that serve several backbones at once: of what they are shown, and of the grid that they are compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from usae_train.backbones.backbone import Backbone


def largest_input(backbones: Mapping[str, Backbone]) -> int:
    """The largest input size of some backbones, px: what is read at it serves all of them."""
    return max(backbone.input_size for backbone in backbones.values())


def common_grid(backbones: Sequence[Backbone]) -> tuple[int, int]:
    """The coarsest of the backbones' own grids, to which the others are resampled (the paper: 16x16 to 14x14)."""
    return min((b.grid for b in backbones), key=lambda grid: grid[0] * grid[1])
