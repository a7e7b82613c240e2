"""Tokens straight from the backbones into training, for a set of pictures whose tokens do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from usae_train.images.failures import BrokenPictures
from usae_train.images.sources import none_can_be_read
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.sampling import measured_numbers
from usae_train.tokens.paired import SAMPLE_BATCH_SIZE, PairedTokens, TokenSource, bytes_per_image, collect_tokens


class StreamFeed:
    """Tokens of pictures; a window is as many random pictures as fit into the memory allowed.

    They go through the backbones when it is their turn.

    Within a window the tokens are shuffled, so it is the shuffle buffer. Every picture goes through the backbones once
    an epoch. Where training asks for single tokens before it starts (mean and std, the dictionaries' first rows) it
    gets those of a first window of random pictures. A window of which no picture can be read has no token.

    Args:
        origin: the pictures and the backbones; processes divide each window's pictures, and each has the tokens of all.
        memory: bytes that a window may take.
        numbers: which of the pictures; all by default.
        progress: called after each forward pass.
        broken: called with pictures that cannot be read; raises when they are too many.

    Raises:
        ValueError: when not one picture fits.
    """

    def __init__(
        self,
        origin: TokenSource,
        memory: float,
        numbers: Sequence[int] | None = None,
        progress: CountCallback = lambda done, total: None,
        broken: BrokenPictures | None = None,
    ) -> None:
        self.origin, self.ranks = origin, origin.ranks
        self.widths = {name: backbone.width for name, backbone in origin.backbones.items()}
        self.numbers = torch.arange(len(origin.source)) if numbers is None else torch.as_tensor(numbers)
        self.memory = memory
        self.per_image = origin.grid[0] * origin.grid[1]
        self.images_per_window = min(len(self.numbers), int(memory / bytes_per_image(origin.backbones, origin.grid)))
        if self.images_per_window < 1:
            raise UsageError(f"--memory is {memory / 1e9:.3g} GB, too little for the tokens of one picture; allow more")
        self.progress, self.broken = progress, broken or BrokenPictures(len(self.numbers))
        self._first: PairedTokens | None = None
        self._unread: set[int] = set()  # numbers that were tried since a picture could be read

    def __len__(self) -> int:
        return len(self.numbers) * self.per_image

    def first_window(self) -> PairedTokens:
        """The tokens of the first pictures of a random order that is always the same.

        First is the first window in which a picture can be read.
        """
        if self._first is None:
            windows = (self._see(window) for window in self.windows(torch.Generator().manual_seed(0)))
            self._first = next(paired for paired in windows if len(paired.numbers))
        return self._first

    def sample(self) -> Iterator[PairedTokens]:
        """The pictures that statistics are measured on, a lot at a time: drawn from all of them, whatever the memory.

        They go through the backbones for it.
        """
        self._first = None
        places = measured_numbers(len(self.numbers)).tolist()
        size = min(SAMPLE_BATCH_SIZE, self.images_per_window)
        for first in range(0, len(places), size):
            yield self._see(places[first : first + size])

    def pick(self, rows: Tensor) -> dict[str, Tensor]:
        flat = self.first_window().flat()
        length = len(next(iter(flat.values())))
        return {name: values[rows % length] for name, values in flat.items()}

    def windows(self, generator: torch.Generator) -> list[list[int]]:
        order = torch.randperm(len(self.numbers), generator=generator).tolist()
        return [order[first : first + self.images_per_window] for first in range(0, len(order), self.images_per_window)]

    def load(self, window: list[int]) -> dict[str, Tensor]:
        self._first = None  # there is memory for one window
        return self._see(window).flat()  # of no token when no picture of it can be read

    def _see(self, places: Sequence[int]) -> PairedTokens:
        numbers = self.numbers[sorted(places)].tolist()  # in the source's order: shards on a disk are read forwards
        paired = collect_tokens(self.origin, progress=self.progress, tried=numbers, allow_none=True)
        self._unread = set() if len(paired.numbers) else self._unread.union(numbers)
        with self.ranks.raise_together():
            self.broken.add(paired.failures)
            if len(self._unread) == len(self.numbers):  # or training would look for a picture without end
                raise none_can_be_read(len(self.numbers), self.origin.source, next(iter(self.broken.failures)))
        return paired
