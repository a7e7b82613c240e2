"""A control: tokens of different images, paired as if they were the same patch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from usae_train.tokens.feeding import Feed


class ShuffledFeed:
    """A feed whose rows pair tokens of different images: each backbone's are in an order of its own; a control.

    Args:
        feed: the pairs.
        seed: decides the orders.
    """

    def __init__(self, feed: Feed, seed: int) -> None:
        self.feed, self.seed, self.memory, self.widths = feed, seed, feed.memory, feed.widths

    def __len__(self) -> int:
        return len(self.feed)

    def pick(self, rows: Tensor) -> dict[str, Tensor]:
        return self._shuffled(self.feed.pick(rows), 0)

    def windows(self, generator: torch.Generator) -> list[list[int]]:
        return self.feed.windows(generator)

    def load(self, window: list[int]) -> dict[str, Tensor]:
        return self._shuffled(self.feed.load(window), window[0])

    def _shuffled(self, tokens: Mapping[str, Tensor], place: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed + place)  # the same when a window is loaded again
        return {name: values[torch.randperm(len(values), generator=generator)] for name, values in tokens.items()}
