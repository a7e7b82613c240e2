"""What is a run folder. No torch: commands ask before they load it."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.place_names import path_of_name
from usae_train.runtime.errors import UsageError

EXPLORER_FOLDER = "explorer"  # the page's folder inside a run
NOT_PICTURES = (EXPLORER_FOLDER, "manifest")  # folders of a run


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run's record."""
    return (folder / "run.json").is_file()


def check_run(place: str | Path) -> None:
    """Raise a ValueError for what is not a run folder."""
    if not is_run(path_of_name(place)):
        raise UsageError(f"{place} is not a run folder: it has no run.json; draw one with usae-viz maximize or render")
