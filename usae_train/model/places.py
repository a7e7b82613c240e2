"""Where a USAE lies: an id of ours, a folder, or a repository of the hub. No torch: commands import this early."""

from __future__ import annotations

import difflib
from pathlib import Path

from usae_train.files.place_names import path_of_name
from usae_train.runtime.errors import UsageError

LABELS = "labels.json"  # names of concepts, in the form that usae-viz takes
EMBEDDED = {name: Path(__file__).parents[1] / name / "universe" for name in ("demo", "photos")}  # our own ids


def folder_of(usae: str) -> Path:
    """The folder of a USAE; a repository of the hub is downloaded.

    Raises:
        ValueError: for an unknown name; says what is nearest.
    """
    return folder_here(usae) or _from_hub(usae)


def folder_here(usae: str) -> Path | None:
    """The folder of a USAE on this machine; None for what may be a repository of the hub.

    Raises:
        ValueError: for what is neither; says what is nearest.
    """
    if usae in EMBEDDED:
        return EMBEDDED[usae]
    folder = path_of_name(usae)
    if folder.is_dir():
        return folder
    if usae.count("/") == 1 and not usae.startswith((".", "~", "/")):
        return None
    near_by = [p.parent.name for p in Path.cwd().glob("*/config.json")]
    near = difflib.get_close_matches(usae, [*EMBEDDED, *near_by], n=3, cutoff=0.4) or list(EMBEDDED)
    ids = ", ".join(f"`{each}`" for each in EMBEDDED)
    raise UsageError(f"unknown USAE {usae!r}; expected {ids}, a folder or a hub id; the nearest: {', '.join(near)}")


def config_file(folder: Path) -> Path:
    """The config.json of a USAE folder.

    Raises:
        ValueError: for a folder without it.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UsageError(f"{folder} is not a USAE folder: it has no config.json")
    return file


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        allowed = ["config.json", "*.safetensors", "README.md", LABELS]
        return Path(snapshot_download(repository, allow_patterns=allowed))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UsageError(
            f"no folder {repository!r}, and the hub does not have it either; check the id and the network, "
            "or name a local folder"
        ) from error
