"""Fingerprints: they distinguish other pictures of the same names from those that something was measured on.

A fingerprint of files is `NAMES+CONTENTS`, two sha256 in hex: of all labels and sizes, as it stood alone in files of
earlier versions, and of what is in the pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

# A JPEG of 24 KB takes 36 us, and 2.1 ms to be read for training (mean of 2000 on one core, cached by the system). But
# of a million the files would be gone through anew each time that a page is made.
FINGERPRINTED_FILES = 20_000
PART_BYTES = 1 << 16  # of a larger picture its beginning, middle and end, so much of each
_FINGERPRINTS = ("fingerprint", "images")  # the latter of a pass of evaluation


class Content(NamedTuple):
    """Where the bytes of a picture lie."""

    file: str
    offset: int  # bytes into the file
    size: int
    changed: int  # when the file was, in ns; one that was not is read once


def content_of(file: Path) -> Content:
    """All of a file."""
    status = file.stat()
    return Content(str(file), 0, status.st_size, status.st_mtime_ns)


def fingerprint_of(pictures: Iterable[tuple[str, Content]], count: int) -> str:
    """A fingerprint of all labels and sizes, and of the contents of 20,000 pictures spread over all.

    Args:
        pictures: each one's label, and where it lies.
        count: how many they are.
    """
    names, contents = hashlib.sha256(), hashlib.sha256()
    chosen = {place * count // min(FINGERPRINTED_FILES, count) for place in range(min(FINGERPRINTED_FILES, count))}
    for number, (label, content) in enumerate(pictures):
        names.update(f"{label}\0{content.size}\n".encode())
        if number in chosen:
            contents.update(_digest(content))
    return f"{names.hexdigest()}+{contents.hexdigest()}"


def same_pictures(fingerprint: str | None, other: str | None) -> bool:
    """Whether two fingerprints are of the same pictures; where one is of names and sizes alone, by these."""
    if not (isinstance(fingerprint, str) and isinstance(other, str)):  # None, or what a damaged record says
        return False
    (names, _, contents), (other_names, _, other_contents) = fingerprint.partition("+"), other.partition("+")
    return names == other_names and (not contents or not other_contents or contents == other_contents)


def same_setting(name: str, value: Any, other: Any) -> bool:
    """Whether two values of what something was made with are the same, of which some are fingerprints by their name."""
    return same_pictures(value, other) if name in _FINGERPRINTS else bool(value == other)


@lru_cache(maxsize=2 * FINGERPRINTED_FILES)
def _digest(content: Content) -> bytes:
    """sha256 of a picture's bytes, of many of them three parts; of what cannot be read, nothing."""
    digest, last = hashlib.sha256(), content.size - PART_BYTES
    parts = [(0, content.size)] if content.size <= 3 * PART_BYTES else [(s, PART_BYTES) for s in (0, last // 2, last)]
    try:
        with open(content.file, "rb", buffering=0) as opened:
            for start, size in parts:
                opened.seek(content.offset + start)
                digest.update(opened.read(size))
    except OSError:
        return b""
    return digest.digest()
