"""What all parameterizations have in common, and where a picture starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn


class Parameterization(nn.Module):
    """Base of all: `Parameterization(seeds, size)()` gives canvases (len(seeds), 3, size, size), float 0..1.

    A parameterization is a learned `latent`, (pictures, ...), and `draw`, which turns any latent into canvases.
    """

    learning_rate: float  # Adam's, for which the defaults were chosen
    latent: nn.Parameter

    def __init__(self, seeds: Sequence[int], size: int) -> None:
        super().__init__()
        self.size = size

    def draw(self, latent: Tensor) -> Tensor:
        """Canvases (pictures, 3, size, size), 0..1, of a latent (pictures, ...)."""
        raise NotImplementedError

    def begin_at(self, canvas: Tensor) -> Self:
        """Start every picture at a given one, (3, size, size), as nearly as can be drawn; returns itself."""
        raise NotImplementedError

    def canvases(self, latent: Tensor) -> Tensor:
        """As `draw`; on the CPU one by one, where transforms round by a picture's place in memory, so in its batch."""
        if latent.device.type != "cpu":
            return self.draw(latent)
        return torch.cat([self.draw(row) for row in latent.split(1)])

    def forward(self) -> Tensor:
        return self.canvases(self.latent)


def seeded_normal(seeds: Sequence[int], *shape: int) -> Tensor:
    """Standard normal numbers (len(seeds), *shape); a row depends on its own seed and on nothing else."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
