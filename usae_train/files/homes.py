"""`~` at the beginning of a path that a person wrote in a file, where no shell expands it."""

from __future__ import annotations

from pathlib import Path


def from_home(path: str | Path) -> Path:
    """The path with `~` or `~name` replaced by that person's home.

    Raises:
        ValueError: for a name that this machine has no home of.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{str(path)!r}: this machine knows no home of {Path(path).parts[0]}; write the path out"
        ) from error
