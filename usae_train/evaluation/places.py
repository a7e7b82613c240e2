"""Where a report may go. No torch: the command asks before it loads it."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.atomic import check_file
from usae_train.runtime.errors import UsageError


def check_report_place(out: Path) -> None:
    """Nothing; an error where a report cannot be written, or would take the place of a page of something else.

    Raises:
        ValueError: says which file is in the way.
    """
    check_file(out / "report.json")
    check_file(out / "index.html")
    if (out / "index.html").exists() and not (out / "report.json").exists():
        raise UsageError(f"{out / 'index.html'} is a page of something else; choose another folder")
