"""What a shell offers when Tab is pressed: USAEs, concepts by name, recipes. Nothing here loads torch, to be quick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import usae_train
from usae_viz.runs.shipped_recipes import shipped_recipes

EMBEDDED = Path(usae_train.__file__).parent  # demo/universe and photos/universe lie in it


def complete_usae(incomplete: str) -> list[str]:
    """The embedded ids, and folders that hold a USAE, or lead to one."""
    return [each for each in ("demo", "photos") if each.startswith(incomplete)] + list(_folders(incomplete))


def complete_recipe(incomplete: str) -> list[str]:
    """The shipped recipes by name, and recipes and pictures of the reader's own."""
    own = [str(file) for ending in ("yaml", "yml", "png") for file in sorted(_beginning(incomplete, f"*.{ending}"))]
    folders = [f"{folder}/" for folder in sorted(_beginning(incomplete, "*/"))]
    return [name for name in shipped_recipes() if name.startswith(incomplete)] + own + folders


def complete_concept(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the concepts of the USAE that --usae says; of several with commas the last is completed."""
    before, comma, last = incomplete.rpartition(",")
    names = dict.fromkeys([*_names_in(str(context.params.get("usae") or "demo")), "top:8"])
    return [f"{before}{comma}{name}" for name in names if name.startswith(last.lower())]


def _names_in(usae: str) -> Iterator[str]:
    """As `--concept` takes them without spaces, which a shell would divide."""
    folder = EMBEDDED / usae / "universe" if usae in ("demo", "photos") else Path(usae)
    for label in _read(folder / "labels.json").get("labels", []):
        yield "".join(str(label.get("name", "")).lower().split())
    for factor in _read(folder / "config.json").get("factors", []):  # `colour: red` is named by `red`
        yield str(factor).partition(":")[2].strip()


def _read(file: Path) -> dict[str, Any]:
    """A JSON file's mapping; an empty one for what cannot be read: where nothing is known, nothing is offered."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _folders(incomplete: str) -> Iterator[str]:
    for folder in sorted(_beginning(incomplete, "*/")):
        yield str(folder) if (folder / "config.json").is_file() else f"{folder}/"


def _beginning(incomplete: str, pattern: str) -> Iterator[Path]:
    """What lies where an incomplete path leads to, matches a pattern and begins like it; hidden things do not."""
    path = Path(incomplete)
    folder, start = (path, "") if incomplete.endswith("/") else (path.parent, path.name)
    for found in folder.glob(pattern):
        if found.name.startswith(start) and (start.startswith(".") or not found.name.startswith(".")):
            yield found
