"""Places as people write them: `~` is a home."""

from __future__ import annotations

from pathlib import Path


def expanded(place: str | Path) -> Path:
    """A path with `~` and `~name` written out.

    Raises:
        ValueError: for a user that this machine does not know.
    """
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{str(place)!r} begins with the home of a user that is not known here; write the path out, or ./ before it"
        ) from error
