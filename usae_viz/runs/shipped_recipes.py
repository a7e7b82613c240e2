"""The recipes that come with the package, found by name."""

from __future__ import annotations

from pathlib import Path

from usae_train.runtime.errors import UsageError

PACKAGE_FOLDER = Path(__file__).parents[1]
# In the wheel they are inside usae_viz; in a clone at its top, where people read them.
RECIPE_FOLDERS = (PACKAGE_FOLDER / "recipes", PACKAGE_FOLDER.parent / "recipes")
RECIPE_ENDINGS = (".yaml", ".yml", ".png")  # of what `render` takes: a name with one of these is a file's


def shipped_recipes() -> dict[str, Path]:
    """{name: its file}, in alphabetical order."""
    folder = next((place for place in RECIPE_FOLDERS if place.is_dir()), None)
    return {} if folder is None else {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> str:
    """A recipe's file: the path as it stands, or the shipped recipe of that name where no such file is.

    Raises:
        ValueError: for a bare name that is neither; lists the shipped ones.
    """
    if Path(name).is_file() or Path(name).name != name or name.lower().endswith(RECIPE_ENDINGS):
        return name  # a folder of that name is not a recipe: `render atlas --out atlas` made it
    shipped = shipped_recipes()
    if name not in shipped:
        raise UsageError(f"no recipe {name!r}: it is not a file here, and the shipped ones are {', '.join(shipped)}")
    return str(shipped[name])


def describe_recipe(file: Path) -> str:
    """The first sentence of the comment that a recipe begins with."""
    comment = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    text = " ".join(comment)
    ends = [at for sign in (". ", ": ", "? ") if (at := text.find(sign)) > 0]
    return text[: min(ends) + 1].rstrip(":") if ends else text
