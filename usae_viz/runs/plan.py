"""What a recipe comes to on a given USAE: every drawing, its settings, its files and the key of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from usae_train.files.provenance import hash_of_named
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.caption import caption
from usae_viz.concepts.labels import Label, labels_of, names_by_concept
from usae_viz.concepts.selection import select
from usae_viz.custom_code.importing import names_custom_code
from usae_viz.export.naming import objective_folder, title_of, words_of
from usae_viz.export.provenance import custom_hashes
from usae_viz.objectives import Objective, parse_objective
from usae_viz.objectives.binding import bound_in
from usae_viz.objectives.custom_objective import import_objective
from usae_viz.optimization.by_objective import default_whole_first, settings_for
from usae_viz.optimization.checks import check_objectives
from usae_viz.optimization.drawing import canvas_specs
from usae_viz.optimization.edited import check_edits, with_edits_bound
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.parameterizations.spectra import spectrum_hash
from usae_viz.runs.recipe import RenderRecipe, RunVariant
from usae_viz.runs.settings import DrawSettings
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import CROP_OF_CLASSES

ANIMATION = DrawSettings().animation
# In a drawing's key: the version since which the same settings give the same bits. It is raised when they change, and
# then everything is drawn again. On a GPU the noise of views has been drawn there since 0.6.
DRAWN_AS, DRAWN_ON_GPU_AS = {"cpu": "0.5.0"}, "0.6.0"
# settings that are in keys only where they are given: earlier versions did not have them
KEYED_WHERE_GIVEN = ("verify", "transforms", "edits")
BY_OBJECTIVE = ("augmentation", "whole_first", "feature_statistics")  # settings that `settings_for` fills in
MAX_IMAGES = 1_000_000  # pictures of a plan: a year's work for one processor, and 1 GB of memory to plan


@dataclass(frozen=True)
class RenderJob:
    """The pictures of one objective in one variant, mode and seed: what is drawn at once, or not at all."""

    objective: Objective
    settings: MaximizeSettings  # resolved, for this objective
    variant: str | None
    folder: str  # below the run's
    title: str  # of the folder
    names: tuple[str, ...]  # of the pictures, as files; in the order of `canvas_specs`
    key: str  # of everything that decides what the pictures and their files are
    code: str | None = None  # sha256 of the file with the objective's code, where it is custom
    former_keys: tuple[str, ...] = ()  # other keys that these pictures may have had before 0.9


@dataclass(frozen=True)
class _PlannedObjective:
    """One objective in one variant, as it was asked for."""

    folder: str
    title: str
    run_variant: RunVariant
    objective: Objective
    code: str | None = None


@dataclass(frozen=True)
class _ResolvedVariant:
    """What a variant comes to on a USAE, found once for everything that is drawn so."""

    settings: MaximizeSettings  # resolved
    content: Mapping[str, Any]  # its part in the keys
    name_prefix: str  # `maco-coupled-`, with a variant, and where there are several modes
    name_suffix: str  # `-seed-3`, where there are several seeds
    names: dict[tuple[str, ...] | None, tuple[str, ...]] = field(default_factory=dict)  # by the backbones asked for

    def image_names(self, usae: USAE, objective: Objective) -> tuple[str, ...]:
        """An objective's pictures, as files."""
        if objective.backbones not in self.names:
            specs = canvas_specs(usae, objective, self.settings)
            self.names[objective.backbones] = tuple(
                f"{self.name_prefix}{spec.name}{self.name_suffix}" for spec in specs
            )
        return self.names[objective.backbones]


@dataclass(frozen=True)
class RenderPlan:
    """All jobs, folder by folder.

    Attributes:
        animations: endings, gif and mp4.
        sheet: whether each folder gets a sheet.
        recipe: what was asked, as run.json keeps it.
    """

    jobs: tuple[RenderJob, ...]
    animations: tuple[str, ...] = ()
    sheet: bool = True
    recipe: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def folders(self) -> dict[str, list[RenderJob]]:
        """The jobs of each folder."""
        folders: dict[str, list[RenderJob]] = {}
        for job in self.jobs:
            folders.setdefault(job.folder, []).append(job)
        return folders

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return sum(len(job.names) for job in self.jobs)


def plan_recipe(usae: USAE, recipe: RenderRecipe, folder: Path, allow_code: bool = False) -> RenderPlan:
    """Work out what a recipe draws; `module:function` is looked for in its folder, and imported only with permission.

    Raises:
        ValueError: for invalid concepts and objectives, for one that compares with a picture that is not given, and for
            two drawings of the same pictures or file.
    """
    recipe = recipe.imported(folder, allow_code)
    labels = labels_of(usae, recipe.labels)
    concepts = dict.fromkeys(k for item in dict.fromkeys(recipe.concepts) for k in select(usae, item, labels))
    _check_count(usae, recipe.variant_counts(), len(concepts) + len(recipe.objectives))
    variants = [replace(each, settings=with_edits_bound(usae, each.settings, labels)) for each in recipe.run_variants()]
    planned = _planned_concepts(usae, concepts, variants, labels)
    if codes := _written_objectives(usae, recipe, folder, allow_code, labels):
        as_they_stand = _apart_from_templates(variants, recipe.objective)
        planned += _planned_objectives(usae, codes, planned, as_they_stand)
    animations = tuple(kind for kind in ("gif", "mp4") if kind in recipe.outputs)
    jobs = _jobs(usae, planned, animations)
    return RenderPlan(jobs, animations, "sheet" in recipe.outputs, recipe.model_dump(mode="json"))


def _planned_concepts(
    usae: USAE, concepts: Iterable[int], variants: Sequence[RunVariant], labels: Sequence[Label]
) -> list[_PlannedObjective]:
    """What each variant draws for each concept."""
    names, planned = names_by_concept(labels_of(usae)), list[_PlannedObjective]()
    templates = dict.fromkeys(variant.objective for variant in variants)
    for k in concepts:
        title, folder = caption(usae, k, names), f"concept-{k:05d}"
        objectives = {template: _for_concept(template, k, usae, labels) for template in templates}
        planned += [_PlannedObjective(folder, title, variant, objectives[variant.objective]) for variant in variants]
    return planned


def _written_objectives(
    usae: USAE, recipe: RenderRecipe, folder: Path, allow_code: bool, labels: Sequence[Label]
) -> dict[Objective, str | None]:
    """A recipe's `objectives`, each once: {objective: sha256 of its code, where that is custom}."""
    codes: dict[Objective, str | None] = {}
    for text in dict.fromkeys(recipe.objectives):
        if names_custom_code(text):
            imported = import_objective(text, folder, allow_code)
            codes[bound_in(usae, [imported.objective], labels)[0]] = imported.sha256
        else:
            (objective,) = bound_in(usae, [parse_objective(text)], labels)
            if str(objective) not in map(str, codes):
                codes[objective] = None
    return codes


def _planned_objectives(
    usae: USAE,
    codes: Mapping[Objective, str | None],
    concepts: Sequence[_PlannedObjective],
    variants: Sequence[RunVariant],
) -> list[_PlannedObjective]:
    """What variants draw of a recipe's `objectives`, without what is drawn of its concepts already."""
    drawn_already = {(str(each.objective), each.run_variant.settings) for each in concepts}
    others = [
        objective
        for objective in codes
        if not drawn_already.issuperset((str(objective), variant.settings) for variant in variants)
    ]
    return _planned_in(usae, folders_of(others, {each.folder for each in concepts}), variants, codes)


def _planned_in(
    usae: USAE,
    folders: Mapping[Objective, str],
    variants: Sequence[RunVariant],
    codes: Mapping[Objective, str | None],
) -> list[_PlannedObjective]:
    """What each variant draws of objectives, each in its folder; `codes` as `_written_objectives` gives them."""
    return [
        _PlannedObjective(folder, title_of(usae, objective), variant, objective, codes[objective])
        for objective, folder in folders.items()
        for variant in variants
    ]


def plan_objectives(
    usae: USAE,
    objectives: Sequence[Objective],
    settings: Sequence[MaximizeSettings],
    animation: str = ANIMATION,
    code: str | None = None,
) -> RenderPlan:
    """Draw each objective with each of some settings; `code` is the sha256 of custom code, see `RenderJob`."""
    objectives = bound_in(usae, objectives)
    _check_count(usae, ((each.seeds, 1) for each in settings), len(objectives))
    variants = [RunVariant(None, each) for each in settings]
    planned = _planned_in(usae, folders_of(objectives), variants, dict.fromkeys(objectives, code))
    animations = (animation,) if any(each.snapshots for each in settings) else ()
    return RenderPlan(_jobs(usae, planned, animations), animations)


def folders_of(objectives: Sequence[Objective], taken_names: Collection[str] = ()) -> dict[Objective, str]:
    """A folder each; where the words are the same (`a + b` and `a * b`), later ones get a number.

    None of them is in `taken_names`: folders of concepts, in which something else is drawn.
    """
    folders: dict[Objective, str] = {}
    for objective in objectives:
        first = objective_folder(objective) if objective_folder(objective) not in taken_names else words_of(objective)
        name, number = first, 1
        while name in folders.values():
            number += 1
            name = f"{first}-{number}"
        folders[objective] = name
    return folders


def _check_count(usae: USAE, variants: Iterable[tuple[int, int]], objectives: int) -> None:
    """Raise a ValueError for more than `MAX_IMAGES` pictures, before any of them is listed.

    `variants` gives for each how many seeds it draws at once, and how many times.
    """
    pictures = sum(seeds * times for seeds, times in variants) * objectives * len(usae.names)
    if pictures > MAX_IMAGES:
        raise UsageError(
            f"{pictures} pictures, all objectives, variants, modes, seeds and backbones taken together; expected at "
            f"most {MAX_IMAGES}: draw a part at a time"
        )


def _jobs(usae: USAE, planned: Sequence[_PlannedObjective], animations: Sequence[str]) -> tuple[RenderJob, ...]:
    check_objectives(usae, list(dict.fromkeys(each.objective for each in planned)))
    by_variant = _resolved_variants(usae, list(dict.fromkeys(each.run_variant for each in planned)), animations)
    for variant, resolved in by_variant.items():
        if resolved.settings.edits:
            check_edits(usae, resolved.settings, [each.objective for each in planned if each.run_variant is variant])
    jobs = _without_repeats([(each, _job(usae, each, by_variant[each.run_variant])) for each in planned])
    _check_apart(jobs)
    return jobs


def _without_repeats(planned: Sequence[tuple[_PlannedObjective, RenderJob]]) -> tuple[RenderJob, ...]:
    """The jobs, less those that an earlier variant's equal once settings that depend on the objective are filled in.

    A variant of which nothing would be left keeps its jobs: `_check_apart` refuses it.
    """
    first: dict[tuple[str, str], _PlannedObjective] = {}
    firsts, repeats = list[RenderJob](), list[RenderJob]()
    for each, job in planned:
        settings, other = each.run_variant.settings, first.setdefault((job.folder, job.key), each).run_variant.settings
        differs = any(getattr(settings, name) != getattr(other, name) for name in BY_OBJECTIVE)
        (repeats if differs else firsts).append(job)
    kept_variants = {job.variant for job in firsts}
    dropped = {id(job) for job in repeats if job.variant in kept_variants}
    return tuple(job for _, job in planned if id(job) not in dropped)


def _job(usae: USAE, planned: _PlannedObjective, resolved: _ResolvedVariant) -> RenderJob:
    objective = planned.objective
    if objective.needs_reference and not resolved.settings.given_pictures:  # raised later, what came before is drawn
        raise UsageError(f"objective {objective} compares with a picture; give one as `start` or `reference`")
    content = {**resolved.content, "folder": planned.folder, "objective": str(objective), "code": planned.code}
    if planned.code is not None and objective.concepts:  # its text is its name, which may mean another concept today
        content["concepts"] = list(objective.concepts)
    settings = settings_for(usae, objective, resolved.settings)
    crop = settings.augmentation.crop or CROP_OF_CLASSES  # where transforms replace it, what it was before 0.9
    augmentation = {**settings.augmentation.model_dump(mode="json"), "crop": list(crop)}
    content["settings"] = {**content["settings"], "augmentation": augmentation}
    if settings.feature_statistics:  # earlier versions did not have it
        content["feature_statistics"] = settings.feature_statistics
    if objective.constants:
        content["constants"] = objective.constants
    key, *former_keys = _keys(content, settings.whole_first, default_whole_first(usae, objective, settings))
    names, variant = resolved.image_names(usae, objective), planned.run_variant.name
    return RenderJob(
        objective, settings, variant, planned.folder, planned.title, names, key, planned.code, tuple(former_keys)
    )


def _keys(content: Mapping[str, Any], whole_first: float | None, default: float) -> list[str]:
    """The key of what decides a job's pictures, and other keys that it may have had before 0.9.

    Until then `whole_first` stood in it as it was given, null or the same number.
    """
    spellings = [None, whole_first] if whole_first == default else [whole_first]
    return [
        hashlib.sha256(
            json.dumps({**content, "settings": {**content["settings"], "whole_first": each}}, sort_keys=True).encode()
        ).hexdigest()[:32]
        for each in spellings
    ]


def _resolved_variants(
    usae: USAE, variants: Sequence[RunVariant], animations: Sequence[str]
) -> dict[RunVariant, _ResolvedVariant]:
    """What each variant comes to."""
    modes, seeds = dict[str | None, set[str]](), dict[str | None, set[int]]()
    for variant in variants:
        modes.setdefault(variant.name, set()).add(variant.settings.mode)
        seeds.setdefault(variant.name, set()).add(variant.settings.seed)
    pictures = {file for variant in variants for file in variant.settings.given_pictures.values()}
    hashes, spectrum = {file: hash_of_named(file) for file in pictures}, cache(spectrum_hash)
    by_variant: dict[RunVariant, _ResolvedVariant] = {}
    for variant in variants:
        settings = resolve_settings(usae, variant.settings)
        prefix = f"{variant.name}-" if variant.name is not None else ""
        prefix += "coupled-" if len(modes[variant.name]) > 1 and settings.mode == "coupled" else ""
        suffix = f"-seed-{settings.seed}" if len(seeds[variant.name]) > 1 else ""
        content = _key_content(usae, settings, animations, hashes, spectrum)
        by_variant[variant] = _ResolvedVariant(settings, content, prefix, suffix)
    return by_variant


def _key_content(
    usae: USAE,
    settings: MaximizeSettings,
    animations: Sequence[str],
    hashes: Mapping[str, str],
    spectrum: Callable[[str], str],
) -> dict[str, Any]:
    """What of a job's key is of its variant's resolved settings.

    `hashes` are of the pictures given, `spectrum` hashes one.
    """
    # verdicts are computed again from old figures
    excluded = {"memory", "verdict", *settings.given_pictures, "spectrum", *BY_OBJECTIVE}
    excluded |= {
        name for name in KEYED_WHERE_GIVEN if getattr(settings, name) == MaximizeSettings.model_fields[name].default
    }
    return {
        "settings": settings.model_dump(mode="json", exclude=excluded),
        "animations": list(animations),
        "given": {name: hashes[file] for name, file in settings.given_pictures.items()},
        "spectrum": settings.spectrum and spectrum(settings.spectrum),
        "usae": usae.sha256,
        "version": DRAWN_AS.get(usae.device.type, DRAWN_ON_GPU_AS),
        **custom_hashes([settings]),
    }


def _check_apart(jobs: Sequence[RenderJob]) -> None:
    """Raise a ValueError for two jobs that are the same or go into one file, and for a file's name with a /."""
    keys: dict[tuple[str, str], RenderJob] = {}
    files: dict[tuple[str, str], RenderJob] = {}
    for job in jobs:
        other = keys.setdefault((job.folder, job.key), job)
        if other is not job:
            raise UsageError(
                f"{_in_words(other)} and {_in_words(job)} draw the same pictures of {job.objective}; keep one of them"
            )
        for name in job.names:
            if "/" in name or "\\" in name or name.startswith("."):
                raise UsageError(f"a picture named {name!r} would leave the output folder; rename the backbone")
            other = files.setdefault((job.folder.casefold(), name.casefold()), job)
            if other is not job or name.casefold() in ("sheet", "scores"):
                raise UsageError(
                    f"{_in_words(other)} and {_in_words(job)} would write one file, {job.folder}/{name}.png; rename one"
                )


def _in_words(job: RenderJob) -> str:
    what = f"variant {job.variant!r}" if job.variant is not None else "the recipe"
    return f"{what} ({job.settings.mode}, seed {job.settings.seed})"


def _apart_from_templates(variants: Sequence[RunVariant], template: str) -> list[RunVariant]:
    """The variants, less those that differ from another only in what they draw for a concept."""
    plain, apart = {each.settings for each in variants if each.objective == template}, list[RunVariant]()
    for variant in variants:
        if variant.objective == template or variant.settings not in plain:
            apart.append(variant)
            plain.add(variant.settings)
    return apart


def _for_concept(template: str, k: int, usae: USAE, labels: Sequence[Label]) -> Objective:
    if names_custom_code(template):
        raise UsageError(f"objective {template!r}: a function of your own stands under `objectives`")
    (objective,) = bound_in(usae, [parse_objective(template.replace("{k}", str(k)))], labels)
    if "{k}" not in template or objective.concepts[:1] != (k,):
        raise UsageError(
            f"objective {template!r}: expected Concept({{k}}) as its first concept; it is what is verified"
        )
    return objective
