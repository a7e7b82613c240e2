"""Checks what a training is asked for: its recipe by name or file, its settings, its memory. No torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Unpack

from usae_train.files.validation import check_settings
from usae_train.files.yaml_config import check_mapping, read_mapping
from usae_train.runtime.errors import UsageError
from usae_train.runtime.memory import present_memory
from usae_train.training.settings import DEFAULT, RECIPES, FitOptions, FitSettings, TrainingRecipe


def named_recipe(recipe: str | TrainingRecipe) -> TrainingRecipe:
    """A recipe by its name; a recipe is returned as it is.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(recipe, TrainingRecipe):
        return recipe
    if recipe.endswith((".yaml", ".yml")):
        return read_recipe(recipe)
    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}; expected {' or '.join(sorted(RECIPES))}, or a YAML file of one")
    return RECIPES[recipe]


def read_recipe(file: str) -> TrainingRecipe:
    """A recipe of a YAML file: fields of `TrainingRecipe`, and `like`, which gives the others (`default`).

    Raises:
        ValueError: for a file that is not one, or a field that does not exist; with its line.
    """
    content = read_mapping(file)
    like = content.pop("like", DEFAULT.name)
    if like not in RECIPES:
        raise UsageError(f"{file}: like: no recipe {like!r}; expected {' or '.join(sorted(RECIPES))}")
    written = check_mapping(TrainingRecipe, content, file)
    named = {"name": written.name if "name" in written.model_fields_set else Path(file).stem}
    return TrainingRecipe(
        **{**dict(RECIPES[like]), **{n: getattr(written, n) for n in written.model_fields_set}, **named}
    )


def fit_settings(recipe: str | TrainingRecipe, **settings: Unpack[FitOptions]) -> FitSettings:
    """Check a recipe's name and the settings' names and values.

    Raises:
        ValueError: with the nearest right name, or what was expected.
    """
    recipe = named_recipe(recipe)
    if settings.get("batch") is None:
        settings["batch"] = recipe.batch
    chosen = check_settings(FitSettings, recipe=recipe, **settings)
    if recipe.batch_norm and chosen.batch == 1:
        raise UsageError(f"batch is 1, and recipe {recipe.name!r} normalizes over a batch; expected 2 tokens or more")
    return chosen


def allowed_memory(gigabytes: float | None) -> float:
    """Bytes of tokens that may be in memory: a third of the machine's by default.

    Raises:
        ValueError: for a negative number, or one that is not finite.
    """
    if gigabytes is not None and not 0 <= gigabytes < math.inf:  # NaN is neither
        raise UsageError(f"--memory is {gigabytes} GB; expected a number of GB, 0 or more")
    return gigabytes * 1e9 if gigabytes is not None else present_memory() / 3
