"""Recipes: a YAML file that says which concepts to draw, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from usae_train.files.homes import resolve_beside
from usae_train.files.validation import FileName, FrozenModel
from usae_train.files.yaml_config import Clash, check_mapping, read_mapping
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.selection import Selection
from usae_viz.optimization.checks import clash_of
from usae_viz.runs.settings import DrawSettings
from usae_viz.settings import MAX_SEED, MaximizeSettings, Mode

Output = Literal["png", "alpha", "gif", "mp4", "sheet"]
RecipeSeed = Annotated[int, Field(ge=0, lt=MAX_SEED)]
CONCEPT_ALONE = "Concept({k})"
SETTINGS_DEFAULTS = MaximizeSettings()
ANIMATION_FRAMES = 24  # of an animation, unless `snapshots` says how many steps apart they are


class Variant(MaximizeSettings):
    """What one variant changes: any of the settings, the mode, the seed, or what is drawn for a concept."""

    objective: str | None = Field(None, description="what is drawn for each concept, in place of the recipe's")


class RenderRecipe(FrozenModel):
    """What `usae-viz render` draws: concepts and objectives x variants x modes x seeds."""

    usae: str = Field(
        DrawSettings().usae,
        description="`demo`, `photos`, a USAE folder (taken relative to the recipe) or a hub id",
    )
    concepts: list[int | str | Selection] = Field(
        [],
        description="indices, ranges `10-20`, labels, patterns `colour:*`, `all`, or by a statistic: `{top: 64, by: "
        "energy}`; one entry needs no list",
    )
    labels: str | None = Field(
        None, description="your own names for concepts: the JSON that the explorer exports, relative to the recipe"
    )
    objective: str = Field(CONCEPT_ALONE, description="what is drawn for each concept; {k} stands for its number")
    objectives: list[str] = Field(
        [], description="drawn as they stand: `Concept(12) - 0.5 * Concept(7)`, or `module:function` with --allow-code"
    )
    modes: list[Mode] = Field([SETTINGS_DEFAULTS.mode], min_length=1, description="each draws its own pictures")
    seeds: list[RecipeSeed] = Field([SETTINGS_DEFAULTS.seed], min_length=1, description="each draws its own pictures")
    settings: MaximizeSettings = Field(SETTINGS_DEFAULTS, description="the rest of a maximization's settings")
    variants: dict[FileName, Variant] = Field(
        {},
        description="each draws everything with its own changes; without variants, everything is drawn once",
    )
    outputs: list[Output] = Field(
        ["png", "sheet"],
        description="what is written; png always is. alpha: PNGs with transparency; gif, mp4: how it was drawn",
    )

    @field_validator("concepts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _check_places(self) -> RenderRecipe:
        for key in ("mode", "seed", "alpha"):
            if key in self.settings.model_fields_set:
                where = "`outputs`" if key == "alpha" else f"the top, as a list under `{key}s`"
                raise Clash(f"{key} belongs at {where}", "settings", key)
        if not self.concepts and not self.objectives:
            raise UsageError("nothing to draw; expected `concepts` or `objectives`")
        for key in ("modes", "seeds", "outputs"):
            values: list[Any] = getattr(self, key)
            if len(set(values)) < len(values):
                raise Clash(f"{values} has an entry twice", key)
        return self

    @model_validator(mode="after")
    def _without_clash(self) -> RenderRecipe:
        """What single keys cannot show: keys that do not go together, in the settings or after a variant's change."""
        animated = {"gif", "mp4"} & set(self.outputs)
        for variant, settings, changed in self._merged():
            inside = ("settings",) if variant is None else ("variants", variant)
            keys = self.settings.model_fields_set | changed
            if "seeds" in keys and "seeds" in self.model_fields_set:
                raise Clash(
                    "clashes with the recipe's own `seeds`, a list; keep one of them (this one draws its seeds in "
                    "one batch, which Diversity needs)",
                    *inside,
                    "seeds",
                )
            for key in {"verify", "verdict"} & (changed if variant is not None else set()):
                raise Clash("belongs in `settings`: pictures on one sheet are judged alike", *inside, key)
            if (clash := clash_of(settings)) is not None:
                key, why, _ = clash
                raise Clash(why, *inside, key)
            if settings.snapshots is not None and not animated:
                raise Clash("snapshots are for animations: add gif or mp4 to `outputs`", *inside, "snapshots")
        return self

    def imported(self, folder: Path, allow_code: bool) -> RenderRecipe:
        """The same with the code that its settings name, from a folder.

        Raises:
            ValueError: without permission, or for what is not there.
        """
        settings = self.settings.imported(folder, allow_code)
        variants = {name: variant.imported(folder, allow_code) for name, variant in self.variants.items()}
        return self.model_copy(update={"settings": settings, "variants": variants})

    def run_variants(self) -> Iterator[RunVariant]:
        """Each combination of variant, mode and seed."""
        for variant, settings, changed in self._merged():
            for mode in [settings.mode] if "mode" in changed else self.modes:
                for seed in [settings.seed] if "seed" in changed else self.seeds:
                    alpha = settings.alpha if "alpha" in changed else "alpha" in self.outputs
                    update = {"mode": mode, "seed": seed, "alpha": alpha}
                    if settings.snapshots is None and {"gif", "mp4"} & set(self.outputs):
                        update["snapshots"] = max(1, settings.steps // ANIMATION_FRAMES)
                    yield RunVariant(variant, settings.model_copy(update=update), self._template(variant))

    def ways_to_draw(self) -> Iterator[tuple[str, MaximizeSettings]]:
        """Each variant's objective for a concept and its settings, whatever the modes and seeds."""
        for variant, settings, _ in self._merged():
            yield self._template(variant), settings

    def variant_counts(self) -> Iterator[tuple[int, int]]:
        """How many seeds each variant draws at once, and how many times: counts of what `run_variants` lists."""
        for _, settings, changed in self._merged():
            modes, seeds = 1 if "mode" in changed else len(self.modes), 1 if "seed" in changed else len(self.seeds)
            yield settings.seeds, modes * seeds

    def _template(self, variant: str | None) -> str:
        """What a variant draws for each concept."""
        return (self.variants[variant].objective if variant is not None else None) or self.objective

    def _merged(self) -> Iterator[tuple[str | None, MaximizeSettings, set[str]]]:
        """Each variant's name, settings, and which keys it changes."""
        if not self.variants:
            yield None, self.settings, set()
        for name, variant in self.variants.items():
            changes = {key: getattr(variant, key) for key in variant.model_fields_set - {"objective"}}
            yield name, self.settings.model_copy(update=changes), set(changes)


@dataclass(frozen=True, eq=False)  # compared by identity: comparing the settings of thousands is slow
class RunVariant:
    """One way in which everything is drawn: a variant (None in a recipe without any) in one mode, with one seed."""

    name: str | None
    settings: MaximizeSettings
    objective: str = CONCEPT_ALONE  # for each concept


def read_render_recipe(file: str | Path, labels: str | Path | None = None) -> RenderRecipe:
    """Read and check a recipe; files that it names are taken relative to it. `labels` stand in place of its own.

    Raises:
        ValueError: with file, line and key, and the nearest right key.
    """
    content = read_mapping(file, "a recipe (YAML) or one of the PNGs that usae-viz writes")
    recipe = check_mapping(RenderRecipe, content, file)
    folder = Path(file).parent
    usae = resolve_beside(recipe.usae, folder)
    if labels is None and recipe.labels is not None:
        labels = resolve_beside(recipe.labels, folder)
    variants = {name: _relative(variant, folder) for name, variant in recipe.variants.items()}
    return recipe.model_copy(
        update={
            "usae": str(usae) if (usae / "config.json").is_file() else recipe.usae,
            "labels": None if labels is None else str(labels),
            "settings": _relative(recipe.settings, folder),
            "variants": variants,
        }
    )


def _relative(settings: MaximizeSettings, folder: Path) -> MaximizeSettings:
    files = settings.given_pictures
    if settings.spectrum is not None:
        from usae_viz.parameterizations.spectra import is_file  # imports torch, which most recipes do without

        files |= {"spectrum": settings.spectrum} if is_file(settings.spectrum) else {}
    return settings.model_copy(update={key: str(resolve_beside(file, folder)) for key, file in files.items()})
