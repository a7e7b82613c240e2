"""Recipes: a YAML file that says which concepts to draw, and how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from usae_train.config_files import checked, read_mapping
from usae_viz.settings import MAX_SEED, MaximizeSettings, Mode


class Recipe(BaseModel):
    """What `usae-viz render` draws: every concept and objective in every mode with every seed, a folder each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usae: str = Field("demo", description="`demo`, a USAE folder or a hub id")
    concepts: list[int | str] = Field([], description="indices, labels, `top:8`")
    objectives: list[str] = Field([], description="expressions such as `Concept(12) - 0.5 * Concept(7)`")
    modes: list[Mode] = Field(["per-model"], min_length=1, description="each draws its own pictures")
    seeds: list[Annotated[int, Field(ge=0, lt=MAX_SEED)]] = Field(
        [0], min_length=1, description="each draws its own pictures"
    )
    settings: MaximizeSettings = Field(MaximizeSettings(), description="the rest of a maximization's settings")

    @model_validator(mode="after")
    def _said_once(self) -> Recipe:
        twice = [key for key in ("mode", "seed") if key in self.settings.model_fields_set]
        if twice:
            raise ValueError(f"{twice[0]} belongs at the top, as a list under `{twice[0]}s`")
        if not self.concepts and not self.objectives:
            raise ValueError("nothing to draw; expected `concepts` or `objectives`")
        for key in ("modes", "seeds"):
            values: list[Any] = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {values} says something twice")
        return self

    def runs(self) -> Iterator[MaximizeSettings]:
        """The settings of each combination of mode and seed."""
        for mode in self.modes:
            for seed in self.seeds:
                yield self.settings.model_copy(update={"mode": mode, "seed": seed})


def read_recipe(file: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ValueError: with file, line and key, and the nearest right key.
    """
    return checked(Recipe, read_mapping(file), file)
