"""A part of many that stands for all of them: a seeded draw, never the first ones."""

from __future__ import annotations

import torch
from torch import Tensor

# Pictures that statistics are measured on at most: ten of them stand above a 99.9% quantile, and the tally of the
# paper's sizes (three backbones, 6144 concepts) takes 0.37 GB.
MEASURED_IMAGES = 10_000
SAMPLING_SEED = 0  # of no setting: the same of a store, a folder and a training, whatever its seed


def drawn_numbers(count: int, most: int | None) -> Tensor:
    """(drawn,): as many numbers below `count` as `most` allows, all by default, in ascending order.

    One is drawn from each of this many parts, so that classes that lie one after the other all have their share. Which
    parts are larger by one is drawn too: a pattern would favour some of the classes that take turns.
    """
    if most is None or most >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(SAMPLING_SEED)
    sizes = count // most + (torch.randperm(most, generator=generator) < count % most)
    places = torch.rand(most, dtype=torch.double, generator=generator)
    return sizes.cumsum(0) - sizes + (places * sizes).long()


def measured_numbers(count: int) -> Tensor:
    """(drawn,): which of this many pictures statistics are measured on."""
    return drawn_numbers(count, MEASURED_IMAGES)
