"""Several backbones shown the same pictures: those that are one network, read at several layers, in one pass of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from usae_train.backbones.backbone import Backbone


def tokens_together(
    backbones: Mapping[str, Backbone], canvas: Tensor, grid: tuple[int, int] | None = None
) -> dict[str, Tensor]:
    """{backbone: tokens (batch, rows * cols, width)}, as each backbone alone would give them, to the bit on a CPU.

    Args:
        backbones: by name, on one device.
        canvas: (batch, 3, height, width), RGB, float 0..1.
        grid: (rows, cols) to resample the tokens to; each backbone's own by default.
    """
    tokens: dict[str, Tensor] = {}
    for name, backbone in backbones.items():
        if name in tokens:
            continue
        same = {other: reader for other, reader in backbones.items() if backbone.shares_pass(reader)}
        if len(same) < 2:
            tokens[name] = backbone(canvas, grid)
        else:
            tokens.update(zip(same, backbone.forward_together([*same.values()], canvas, grid), strict=True))
    return {name: tokens[name] for name in backbones}
