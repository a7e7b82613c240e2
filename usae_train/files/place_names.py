"""Names of files and folders as UTF-8 text: other bytes are written as escapes, which are read back."""

from __future__ import annotations

import os
import re
from pathlib import Path

from usae_train.files.homes import expand_home

_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


def name_as_utf8(name: str) -> str:
    """A file's name with escapes for those of its bytes that are not UTF-8, for records and messages."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def path_of_name(name: str | Path) -> Path:
    """The path of a name, `~` expanded: with exactly this name if it exists, and else with escapes as bytes again.

    A pattern of shards names no path, and is taken for one.
    """
    place = expand_home(name)
    if os.path.exists(place):  # False for what is too long to be one, such as many shards
        return place
    written = _ESCAPED_BYTE.sub(lambda byte: bytes([int(byte[1], 16)]), os.fsencode(place))
    return Path(os.fsdecode(written))
