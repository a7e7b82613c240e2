"""What a person names to be explored, and where the page may go. No torch: commands ask before they load it."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.atomic import check_file
from usae_train.files.place_names import path_of_name
from usae_train.model.places import EMBEDDED
from usae_train.runtime.errors import UsageError
from usae_viz.runs.places import EXPLORER_FOLDER, is_run

GENERATOR = "usae concept explorer"  # in the page's head: a page with it was made by usae-viz, and may be replaced


def names_run(place: str) -> bool:
    """Whether what a person named is a run folder; else it may be a USAE.

    Raises:
        ValueError: for what is neither.
    """
    folder = path_of_name(place)
    if is_run(folder):
        return True
    if folder.is_file():
        raise UsageError(f"{place} is a file; expected a run folder or a USAE")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UsageError(f"{place} is neither a run folder (it has no run.json) nor a USAE folder (no config.json)")
    if not folder.is_dir() and place not in EMBEDDED and (place.count("/") != 1 or folder.parent.is_dir()):
        raise UsageError(
            f"no such folder: {place}; expected a run folder, a USAE folder, {', '.join(EMBEDDED)} or a hub id"
        )
    return False


def check_explorer_place(out: Path) -> None:
    """Raise a ValueError where the explorer cannot be written, or would replace what is not ours."""
    page, folder = out / "index.html", out / EXPLORER_FOLDER
    if page.is_file() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page} exists already, and is not an explorer that usae-viz made; choose another --out")
    if folder.exists() and not (folder / "data.js").is_file():
        raise UsageError(f"{folder} exists already, and is not an explorer's; choose another --out")
    check_file(page)
