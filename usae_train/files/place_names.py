"""Names of files and folders as text that can be kept: bytes that are not UTF-8 are written out, and read back."""

from __future__ import annotations

import os
import re
from pathlib import Path

from usae_train.files.homes import from_home

_WRITTEN_OUT = re.compile(rb"\\x([89a-f][0-9a-f])")


def printable(name: str) -> str:
    """A file's name with those of its bytes that are not UTF-8 written out, for records and messages."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def named_place(name: str | Path) -> Path:
    """The place that a name is of, `~` written out: the one of just this name, or else the one that `printable` named.

    A pattern of shards is not a place, and taken to be one.
    """
    place = from_home(name)
    if os.path.exists(place):  # False for what is too long to be one, such as many shards
        return place
    written = _WRITTEN_OUT.sub(lambda byte: bytes([int(byte[1], 16)]), os.fsencode(place))
    return Path(os.fsdecode(written))
