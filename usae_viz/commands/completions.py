"""What a shell offers when Tab is pressed: USAEs, concepts by name, recipes. Nothing here loads torch, to be quick."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from usae_train.files.json_files import read_object_or_empty
from usae_train.model.places import EMBEDDED, LABELS
from usae_viz.runs.settings import DrawSettings
from usae_viz.runs.shipped_recipes import shipped_recipes

# characters that neither a terminal nor a shell interprets
SAFE_ON_A_COMMAND_LINE = re.compile(r"(?!-)[\w./:,+@%=~ -]+")


def complete_usae(incomplete: str) -> list[str]:
    """The embedded ids, and folders that hold a USAE, or lead to one."""
    return [each for each in EMBEDDED if each.startswith(incomplete)] + _offered(_folders(incomplete))


def complete_recipe(incomplete: str) -> list[str]:
    """The shipped recipes by name, and recipes and pictures of the reader's own."""
    files = [str(file) for ending in ("yaml", "yml", "png") for file in sorted(_beginning(incomplete, f"*.{ending}"))]
    folders = [f"{folder}/" for folder in sorted(_beginning(incomplete, "*/"))]
    return [name for name in shipped_recipes() if name.startswith(incomplete)] + _offered([*files, *folders])


def complete_concept(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the concepts of the USAE that --usae names; of several, separated by commas, the last is completed."""
    before, comma, last = incomplete.rpartition(",")
    names = dict.fromkeys([*_names_in(str(context.params.get("usae") or DrawSettings().usae)), "top:8"])
    return _offered(f"{before}{comma}{name}" for name in names if name and name.startswith(last.lower()))


def _offered(names: Iterable[str]) -> list[str]:
    """The names that are safe on a command line: a shell inserts them as they are."""
    return [name for name in names if SAFE_ON_A_COMMAND_LINE.fullmatch(name)]


def _names_in(usae: str) -> Iterator[str]:
    """As `--concept` takes them: without spaces, at which a shell would split them."""
    folder = EMBEDDED.get(usae) or Path(usae)
    for label in _list_in(folder / LABELS, "labels"):
        yield "".join(str(label.get("name", "") if isinstance(label, dict) else "").lower().split())
    for factor in _list_in(folder / "config.json", "factors"):  # `colour: red` is named by `red`
        yield str(factor).partition(":")[2].strip()


def _list_in(file: Path, key: str) -> list[Any]:
    """A list in a JSON file; empty for what cannot be read: then nothing is offered."""
    content = read_object_or_empty(file).get(key)
    return content if isinstance(content, list) else []


def _folders(incomplete: str) -> Iterator[str]:
    for folder in sorted(_beginning(incomplete, "*/")):
        yield str(folder) if (folder / "config.json").is_file() else f"{folder}/"


def _beginning(incomplete: str, pattern: str) -> Iterator[Path]:
    """Entries that an incomplete path may mean and that match a pattern; without hidden ones."""
    path = Path(incomplete)
    folder, start = (path, "") if incomplete.endswith("/") else (path.parent, path.name)
    for entry in folder.glob(pattern):
        if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith(".")):
            yield entry
