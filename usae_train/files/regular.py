"""Files that can be read to their end: a pipe, a device or a folder cannot."""

from __future__ import annotations

import stat
from pathlib import Path

from usae_train.runtime.errors import UsageError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_regular(file: Path) -> None:
    """Refuse what is not a file; what is not there is left to whoever opens it.

    Raises:
        ValueError: for a folder, a pipe or a device, which may have no end.
    """
    if (kind := another_kind(file)) is not None:
        raise UsageError(f"{file} cannot be read: it is {kind}; expected a file")


def another_kind(file: Path) -> str | None:
    """What something is that is not a file, in words; None for a file, and for what is not there."""
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except OSError:
        return None
    return None if kind == stat.S_IFREG else _KINDS.get(kind, "of another kind")
