"""The shards that a pattern such as `shards/{000..009}.tar` names: counted before they are written out."""

from __future__ import annotations

import re
from typing import Any

from usae_train.files.whole_numbers import whole_number
from usae_train.runtime.errors import UsageError

MAX_SHARDS = 1_000_000  # the largest sets of pictures on the web have a quarter of that (LAION-2B: 231,349)
_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?\d+)?")
_ESCAPED = re.compile(r"\\.")


def expand_shards(pattern: str, shardlists: Any) -> list[str]:
    """All shards of a pattern, by `webdataset.shardlists`.

    Raises:
        ValueError: for braces that do not pair, or more than a million shards.
    """
    if (count := sum(count_of(part) for part in _ESCAPED.sub("_", pattern).split("::"))) > MAX_SHARDS:
        raise UsageError(f"{pattern} names {count:,} shards; expected {MAX_SHARDS:,} at most: check its numbers")
    return list(shardlists.expand_urls(pattern))


def count_of(pattern: str) -> int:
    """How many names braces stand for: the product of its groups, a group being a range, alternatives, or neither.

    Raises:
        ValueError: for braces that do not pair.
    """
    total, depth, start = 1, 0, 0
    for position, letter in enumerate(pattern):
        if letter == "{":
            depth += 1
            start = position + 1 if depth == 1 else start
        elif letter == "}":
            depth -= 1
            if depth == 0:
                total *= _count_of_group(pattern[start:position])
        if depth < 0:
            break
    if depth != 0:
        raise UsageError(f"unbalanced braces in {pattern!r}; expected a pattern such as shards/{{000..009}}.tar")
    return total


def _count_of_group(group: str) -> int:
    if (ends := _NUMBERS.fullmatch(group)) is not None:
        first, last, step = (whole_number(number or "1") for number in ends.groups())
        return abs(last - first) // max(1, abs(step)) + 1
    if (ends := _LETTERS.fullmatch(group)) is not None:
        return abs(ord(ends[1]) - ord(ends[2])) + 1
    alternatives, depth, start = list[str](), 0, 0
    for position, letter in enumerate(group):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            alternatives.append(group[start:position])
            start = position + 1
    return sum(map(count_of, [*alternatives, group[start:]]))
