"""Files that can be read to their end: a pipe, a device or a folder cannot."""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip


def check_regular(file: Path) -> None:
    """Nothing for a file; what is not there is left to who opens it.

    Raises:
        ValueError: for a folder, a pipe or a device, which may have no end.
    """
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except OSError:
        return
    if kind != stat.S_IFREG:
        raise ValueError(f"{file} cannot be read: it is {_KINDS.get(kind, 'of another kind')}; expected a file")
