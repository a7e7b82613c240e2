"""`~` at the beginning of a path that a person wrote in a file, where no shell expands it."""

from __future__ import annotations

from pathlib import Path

from usae_train.runtime.errors import UsageError


def resolve_beside(place: str | Path, folder: Path) -> Path:
    """The path that a file in `folder` names: `~` written out, and else relative to that folder.

    Raises:
        ValueError: as `expand_home`.
    """
    return folder / expand_home(place)


def expand_home(path: str | Path) -> Path:
    """The path with `~` or `~name` replaced by that person's home.

    Raises:
        ValueError: for a name that this machine has no home of.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{str(path)!r}: this machine has no home directory of {Path(path).parts[0]}; write the path in full"
        ) from error
