"""Whole numbers that a person wrote: as text, of so many digits that anything can be counted, or in Python."""

from __future__ import annotations

import operator
from typing import Any

from usae_train.runtime.errors import UsageError

DIGITS = 20  # of 2**64; Python itself refuses more than 4300 in an error of its own, and takes long before


def whole_number(text: str) -> int:
    """The number that digits say, maybe after a minus.

    Args:
        text: for which `isdecimal` is true, but for the minus.

    Raises:
        ValueError: for more digits than anything is counted by.

    Example:
        >>> whole_number("-12")
        -12
    """
    digits = text.removeprefix("-")
    if len(digits) > DIGITS:
        raise UsageError(f"a number of {len(digits)} digits, {text[:DIGITS]}...; expected at most {DIGITS}")
    return int(text)


def is_truth(value: Any) -> bool:
    """Whether a value is True or False, Python's, numpy's or torch's: to Python they are the numbers 1 and 0."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


def as_index(value: Any, what: str, or_else: str = "") -> int:
    """A whole number as Python code gives it: Python's own, numpy's or torch's.

    Args:
        value: such as 3; True and 3.0 are none.
        what: its name in the message.
        or_else: what else could be given, for the message, such as ` or a name`.

    Raises:
        ValueError: for anything else.
    """
    if not is_truth(value):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise UsageError(f"{what} {value!r}: expected a whole number{or_else}")


def at_least(least: int, value: Any, what: str) -> int:
    """A whole number as Python code gives it, and not too small a one.

    Args:
        least: the smallest that is taken.
        value: such as 3.
        what: its name in the message.

    Raises:
        ValueError: for anything else, and for a smaller one.

    Example:
        >>> at_least(1, 3, "count")
        3
    """
    number = as_index(value, what, f" >= {least}")
    if number < least:
        raise UsageError(f"{what} {value!r}: expected a whole number >= {least}")
    return number
