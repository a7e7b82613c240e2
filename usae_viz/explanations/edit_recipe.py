"""A YAML file of interventions: photographs x named edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from usae_train.files.place_names import named_place
from usae_viz.explanations.settings import InterveneSettings
from usae_viz.runs.recipe import read_settings

EditName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]  # becomes a folder's name
DEFAULTS = InterveneSettings()
ENDINGS = (".yaml", ".yml")


class NamedEdit(BaseModel):
    """What is edited in which backbone."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    backbone: str = Field(alias="in", description="the backbone whose concepts are edited")
    edits: list[str] = Field(alias="set", min_length=1, description="`12=0`, `seeds*2`, `eyes+1.5`")


class EditRecipe(BaseModel):
    """What `usae-viz intervene` does: each edit in each photograph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usae: str = Field(
        DEFAULTS.usae, description="`photos`, `demo`, a USAE folder (taken relative to the file) or a hub id"
    )
    photographs: list[str] = Field(min_length=1, description="picture files, taken relative to the file")
    edits: dict[EditName, NamedEdit] = Field(min_length=1, description="{name: {in: lite0, set: [12=0]}}")
    among: str | None = Field(None, description="photographs to find the nearest of; a folder is relative to the file")
    labels: str | None = Field(None, description="names of your own for concepts; relative to the file")
    top: int = Field(DEFAULTS.top, ge=1, le=20, description="classes and neighbours that are shown")

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
    recipe = read_settings(EditRecipe, file)
    folder = named_place(file).parent

    def beside(place: str) -> str:
        return str(folder / place) if (folder / place).exists() else place

    return recipe.model_copy(
        update={
            "usae": beside(recipe.usae) if (folder / recipe.usae / "config.json").is_file() else recipe.usae,
            "photographs": [str(folder / each) for each in recipe.photographs],
            "among": None if recipe.among is None else beside(recipe.among),
            "labels": None if recipe.labels is None else str(folder / recipe.labels),
        }
    )


def _stems(photographs: Sequence[str]) -> list[str]:
    """A folder's name for each photograph: its file's, numbered where two would be the same."""
    stems = [Path(each).stem for each in photographs]
    return [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems, 1)]
