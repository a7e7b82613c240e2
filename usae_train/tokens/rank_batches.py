"""Batches for processes that train as one: each has its part of the same batches that one process would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.runtime.distributed import DistributedContext
from usae_train.tokens.feeding import Batches, Feed, StoreFeed


def rank_rows(order: Tensor, batch: int, offset: int, ranks: DistributedContext) -> Tensor:
    """A rank's rows of a window: each batch is sorted by row and cut into equal parts.

    So a rank's rows lie together, and of a store's shards it reads its own share and little more, while the batches
    are those of one process.

    Args:
        order: (rows,) what is left of the window, in the order in which it is shown.
        batch: tokens per step, over all ranks.
        offset: how much of the first batch the window before has given.
        ranks: which of them this is.

    Returns:
        (own rows,): those of the first batch, then those of the second, ...
    """
    first = min(batch - offset, len(order))
    batches = [order[:first], *order[first:].split(batch)] if len(order) > first else [order[:first]]
    parts = []
    for number, rows in enumerate(batches):
        start = offset if number == 0 else 0
        ends = torch.tensor(
            [_count_of_rank(start, start + len(rows), other, ranks.world_size) for other in range(ranks.world_size)]
        )
        last = int(ends[: ranks.rank + 1].sum())
        parts.append(rows.sort().values[last - int(ends[ranks.rank]) : last])
    return torch.cat(parts)


def _count_of_rank(start: int, stop: int, number: int, count: int) -> int:
    """How many of the places start..stop-1 of a batch are rank `number`'s: they go round, so that all get as many."""
    return len(range(start + (number - start) % count, stop, count))


class RankBatches(Batches):
    """A rank's part of each batch; what `state_dict` keeps is the same on all ranks, and that of one process.

    Args:
        feed: the tokens, the same on every rank.
        batch: tokens per step, over all ranks.
        generator: decides the order; the same on every rank.
        ranks: which of them this is.
    """

    def __init__(self, feed: Feed, batch: int, generator: torch.Generator, ranks: DistributedContext) -> None:
        self.ranks, self._used = ranks, 0
        self._rank_tokens: dict[str, Tensor] | None = None  # of the window, in the order in which they are shown
        ranks.local_batch(batch)
        super().__init__(feed, batch, generator)

    def next(self) -> dict[str, Tensor]:
        """{backbone: (batch / ranks, width)}."""
        parts: list[dict[str, Tensor]] = []
        places: list[Tensor] = []
        missing = self.batch
        while missing > 0:
            offset = self.batch - missing
            if self._rank_tokens is None:
                self._rank_tokens, self._used = self._load_rank_tokens(offset), 0
            length = min(missing, len(self.order) - self.position)
            shares = [
                _count_of_rank(offset, offset + length, number, self.ranks.world_size)
                for number in range(self.ranks.world_size)
            ]
            share, before = shares[self.ranks.rank], offset + sum(shares[: self.ranks.rank])
            places.append(torch.arange(before, before + share))
            parts.append({name: tokens[self._used : self._used + share] for name, tokens in self._rank_tokens.items()})
            self._used += share
            self.position, missing = self.position + length, missing - length
            if self.position == len(self.order):
                self._advance()
        self.places = torch.cat(places)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rank_tokens = None
        super().load_state_dict(state)

    def _load(self) -> tuple[int, int]:
        """Nothing yet where a window's size is known without: the order decides what is needed of it."""
        if not isinstance(self.feed, StoreFeed):
            return super()._load()
        length = sum(self.feed.length(number) for number in self.windows[self.window])
        return length, length * sum(self.feed.widths.values()) * self.feed.dtype.itemsize

    def _check_window(self) -> None:
        with self.ranks.raise_together():
            super()._check_window()

    def _advance(self) -> None:
        super()._advance()
        self._rank_tokens = None

    def _load_rank_tokens(self, offset: int) -> dict[str, Tensor]:
        rows = rank_rows(self.order[self.position :], self.batch, offset, self.ranks)
        with self.ranks.raise_together():
            if isinstance(self.feed, StoreFeed):
                tokens_of = _load_rows(self.feed, self.windows[self.window], rows)
            else:
                tokens_of = {name: tokens[rows] for name, tokens in self._tokens.items()}
        return tokens_of


def _load_rows(feed: StoreFeed, slices: list[int], rows: Tensor) -> dict[str, Tensor]:
    """Some rows of a window, one slice in memory at a time, and none that has no row of them."""
    loaded = {name: torch.empty(len(rows), width, dtype=feed.dtype) for name, width in feed.widths.items()}
    start = 0
    for number in slices:
        length = feed.length(number)
        inside = (rows >= start) & (rows < start + length)
        if inside.any():
            for name, tokens in feed.load([number]).items():
                loaded[name][inside] = tokens[rows[inside] - start]
        start += length
    return loaded
