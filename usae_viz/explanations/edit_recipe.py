"""A YAML file of interventions: photographs x named edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ConfigDict, Field, field_validator

from usae_train.files.homes import resolve_beside
from usae_train.files.place_names import path_of_name
from usae_train.files.validation import FileName, FrozenModel
from usae_train.files.yaml_config import check_mapping, read_mapping
from usae_train.runtime.errors import UsageError
from usae_viz.explanations.settings import InterveneSettings, ListLength

EDIT_DEFAULTS = InterveneSettings()
EDIT_ENDINGS = (".yaml", ".yml")


class NamedEdit(FrozenModel):
    """What is edited in which backbone."""

    model_config = ConfigDict(populate_by_name=True)

    backbone: str = Field(alias="in", description="the backbone whose concepts are edited")
    edits: list[str] = Field(alias="set", min_length=1, description="`12=0`, `seeds*2`, `eyes+1.5`")


class EditRecipe(FrozenModel):
    """What `usae-viz intervene` does: each edit in each photograph."""

    usae: str = Field(
        EDIT_DEFAULTS.usae, description="`photos`, `demo`, a USAE folder (taken relative to the file) or a hub id"
    )
    photographs: list[str] = Field(min_length=1, description="picture files, taken relative to the file")
    edits: dict[FileName, NamedEdit] = Field(min_length=1, description="{name: {in: lite0, set: [12=0]}}")
    among: str | None = Field(None, description="photographs of which the nearest are shown; relative to the file")
    labels: str | None = Field(None, description="names of your own for concepts; relative to the file")
    top: ListLength = EDIT_DEFAULTS.top

    @field_validator("edits")
    @classmethod
    def _apart(cls, edits: dict[str, NamedEdit]) -> dict[str, NamedEdit]:
        for name, others in ((name, list(edits)[:at]) for at, name in enumerate(edits)):
            if name.casefold() in map(str.casefold, others):
                raise UsageError(f"{name!r} and another differ in capital letters alone; each becomes a folder")
        return edits

    def places(self) -> Iterator[tuple[str, str, NamedEdit]]:
        """Each photograph with each edit, and the folder of what comes of it: NAME/PHOTOGRAPH, below the command's."""
        for name, edit in self.edits.items():
            for photograph, stem in zip(self.photographs, _stems(self.photographs), strict=True):
                yield f"{name}/{stem}", photograph, edit


def read_edit_recipe(file: str) -> EditRecipe:
    """Read and check such a file; what it names is taken relative to it.

    Raises:
        ValueError: with file, line and key, and the nearest right key.
    """
    recipe = check_mapping(EditRecipe, read_mapping(file), file)
    folder = path_of_name(file).parent

    def if_there(place: str, part: str = "") -> str:
        near = resolve_beside(place, folder)
        return str(near) if (near / part).exists() else place

    return recipe.model_copy(
        update={
            "usae": if_there(recipe.usae, "config.json"),
            "photographs": [str(resolve_beside(each, folder)) for each in recipe.photographs],
            "among": None if recipe.among is None else if_there(recipe.among),
            "labels": None if recipe.labels is None else str(resolve_beside(recipe.labels, folder)),
        }
    )


def _stems(photographs: Sequence[str]) -> list[str]:
    """A folder's name for each photograph: its file's, numbered where two would be the same.

    No two are alike, also where small and capital letters are one (on macOS and Windows).
    """
    stems = [Path(each).stem for each in photographs]
    counts = Counter(map(str.casefold, stems))
    taken_stems, names = {stem for stem, count in counts.items() if count == 1}, list[str]()
    for first, stem in enumerate(stems, 1):
        name, number = stem, first
        while counts[stem.casefold()] > 1 and (name == stem or name.casefold() in taken_stems):
            name, number = f"{stem}-{number}", number + 1
        taken_stems.add(name.casefold())
        names.append(name)
    return names
