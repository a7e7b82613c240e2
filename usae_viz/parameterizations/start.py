"""Where a picture starts: random numbers that belong to its seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Parameterization(nn.Module):
    """Base of all: `Parameterization(seeds, size)()` gives canvases (len(seeds), 3, size, size), float 0..1."""

    learning_rate: float  # Adam's, for which the defaults were chosen

    def __init__(self, seeds: Sequence[int], size: int) -> None:
        super().__init__()

    def forward(self) -> Tensor:
        raise NotImplementedError


def seeded_normal(seeds: Sequence[int], *shape: int) -> Tensor:
    """Standard normal numbers (len(seeds), *shape); a row depends on its own seed and on nothing else."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
