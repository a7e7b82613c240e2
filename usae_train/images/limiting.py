"""`--limit`: some pictures of a source, drawn from all of it, and found again later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

from usae_train.images.fingerprints import same_pictures
from usae_train.images.sources import ImageSource, IndexedSource, open_images
from usae_train.runtime.sampling import drawn_numbers


class Choosable(IndexedSource, Protocol):
    """A source that can be had with some of its pictures alone."""

    drawn_from: int | None  # how many pictures there were, where it has some of them

    def chosen(self, numbers: Sequence[int]) -> Self:
        """The same source with these pictures alone, numbered from 0 in this order."""
        ...


Drawable = TypeVar("Drawable", bound=Choosable)


def drawn(source: Drawable, limit: int | None) -> Drawable:
    """At most so many pictures, drawn from all, in the source's order; the same ones whenever it is asked."""
    if limit is None or limit >= len(source):
        return source
    found = source.chosen(drawn_numbers(len(source), limit).tolist())
    found.drawn_from = len(source)
    return found


def count_before(source: ImageSource) -> int:
    """How many pictures there were before some were drawn."""
    return getattr(source, "drawn_from", None) or len(source)


def opened_again(name: str, count: int | None, fingerprint: str | None) -> ImageSource | None:
    """The pictures that something was made of; None where others are there now.

    Args:
        name: of their source.
        count: how many they were; all by default. Versions before 0.4 took the first ones, and still find those.
        fingerprint: theirs.

    Raises:
        ValueError: for a source that cannot be opened.
    """
    source = open_images(name, count)
    if same_pictures(source.fingerprint(), fingerprint):
        return source
    if getattr(source, "drawn_from", None) is None:
        return None
    whole = open_images(name)
    first = whole.chosen(range(len(source)))  # type: ignore[attr-defined]  # what can be drawn from can be chosen from
    return first if same_pictures(first.fingerprint(), fingerprint) else None
