"""Sources as sequences: `source[3]` is a picture, `source[10:20]` a source of some of them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Self, SupportsIndex, overload

from torch import Tensor

from usae_train.runtime.errors import UsageError

INDEXED_SIZE = 224  # pixels per side of what indexing gives: what most backbones see; `read` takes any other


class IndexedImages:
    """What a numbered source of pictures has of a sequence."""

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int, size: int) -> Tensor:
        """One picture as a canvas (3, size, size), float 0..1."""
        raise NotImplementedError

    def chosen(self, numbers: Sequence[int]) -> Self:
        """The same source with these pictures alone, numbered from 0 in this order."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: SupportsIndex) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Tensor | Self:
        """One picture, (3, 224, 224), float 0..1, its centre square; or of a slice, a source of these alone.

        Raises:
            IndexError: for a number that no picture has.
            ValueError: for a picture that cannot be read, or a slice of none.
        """
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            if not numbers:
                raise UsageError(f"no pictures in the slice {index.start}:{index.stop} of {len(self)}")
            return self.chosen(numbers)
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"no picture {number}: there are {len(self)}, numbered from 0")
        return self.read(number % len(self), INDEXED_SIZE)

    def __iter__(self) -> Iterator[Tensor]:
        """The pictures one after the other, as indexing gives them."""
        return (self[number] for number in range(len(self)))
