"""Checks of the folders of a report and of independent SAEs. No torch: the command runs them before it loads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from usae_train.files.atomic import check_file
from usae_train.runtime.errors import UsageError


def check_report_place(out: Path) -> None:
    """Refuse a place where a report cannot be written, or where there is another page.

    Raises:
        ValueError: says which file is in the way.
    """
    check_file(out / "report.json")
    check_file(out / "index.html")
    if (out / "index.html").exists() and not (out / "report.json").exists():
        raise UsageError(f"{out / 'index.html'} is another page; choose another folder")


def check_saes_place(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder of independent SAEs that lacks a backbone's.

    Args:
        folder: where they are.
        names: the backbones, which have one each.

    Raises:
        ValueError: for the first backbone without one.
    """
    for name in names:
        if not (folder / name).is_dir():
            raise UsageError(
                f"{folder} has no {name}; expected a folder for each of {', '.join(names)}, as usae-train fit "
                "--independent writes it"
            )
