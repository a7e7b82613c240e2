"""Whole numbers that a person wrote, in a file or on a command line: of so many digits that anything can be counted."""

from __future__ import annotations

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
