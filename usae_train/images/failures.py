"""Pictures that cannot be read: each is reported once, and too many of them stop a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from usae_train.runtime.errors import UsageError

MAX_BROKEN = 0.01  # share of the pictures that may be unreadable before extraction or training stops


class BrokenPictures:
    """Counts them.

    Args:
        n_pictures: how many pictures there are in all.
        max_broken: largest share of them that may be unreadable.
        say: called with each one, once, and why it cannot be read.
    """

    def __init__(self, n_pictures: int, max_broken: float = 1.0, say: Callable[[str], None] = lambda why: None) -> None:
        self.n_pictures, self.max_broken, self.say = n_pictures, max_broken, say
        self.failures: dict[str, None] = {}  # in the order in which they were found

    def add_one(self, why: str) -> None:
        """Take note of one; see `add`."""
        self.add([why])

    def add(self, failures: Iterable[str]) -> None:
        """Take note of some, each with why; they may be known.

        Raises:
            ValueError: when they are too many.
        """
        for why in failures:
            if why not in self.failures:
                self.failures[why] = None
                self.say(why)
        if len(self.failures) > self.max_broken * self.n_pictures:
            raise UsageError(
                f"{len(self.failures)} of {self.n_pictures} pictures cannot be read, more than {self.max_broken:.1%}; "
                f"the first: {next(iter(self.failures))}; fix or remove them, or allow more with --max-broken"
            )
