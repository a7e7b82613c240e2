"""Where a study may go. No torch: the command asks before it loads it."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.atomic import check_file
from usae_train.runtime.errors import UsageError


def check_study_place(out: Path) -> None:
    """Raise a ValueError where something is there already, or no study can be written."""
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} exists already; choose another --out: answers belong to one study")
    check_file(out / "key.json")
