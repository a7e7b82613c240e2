"""What a recipe comes to on a given USAE: every drawing, its settings, its files and the key of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from usae_train.files.place_names import named_place
from usae_train.files.provenance import file_hash
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label, labels_of, names_of
from usae_viz.concepts.naming import caption
from usae_viz.concepts.selection import select
from usae_viz.export.naming import folder_of, title_of, words_of
from usae_viz.export.provenance import own_hashes
from usae_viz.objectives import Objective, parse_objective
from usae_viz.objectives.custom import load_custom
from usae_viz.objectives.named import bound_in
from usae_viz.optimization.asked import check_objectives
from usae_viz.optimization.edited import check_edits, with_edits_bound
from usae_viz.optimization.parts import pictures_of
from usae_viz.optimization.resolving import resolved
from usae_viz.own_code.importing import is_custom
from usae_viz.parameterizations.spectra import spectrum_hash
from usae_viz.runs.recipe import RenderRecipe, RunVariant
from usae_viz.runs.settings import DrawSettings
from usae_viz.settings import MaximizeSettings

ANIMATION = DrawSettings().animation
# In a drawing's key: the version since which the same settings give the same bits. It is raised when they change, and
# then all is drawn anew. On a GPU the noise of views has been drawn there since 0.6.
DRAWN_AS, DRAWN_ON_GPU_AS = {"cpu": "0.5.0"}, "0.6.0"
LATER = ("verify", "transforms", "edits")  # settings that are in keys where they are given alone: earlier had none
MAX_IMAGES = 1_000_000  # pictures of a plan: a year's work of one processor, and 1 GB to think of


@dataclass(frozen=True)
class RenderJob:
    """The pictures of one objective in one run: what is drawn at once, or not at all."""

    objective: Objective
    settings: MaximizeSettings  # resolved
    variant: str | None
    folder: str  # below the run's
    title: str  # of the folder
    names: tuple[str, ...]  # of the pictures, as files; in the order of `pictures_of`
    key: str  # of everything that decides what the pictures and their files are
    code: str | None = None  # sha256 of the file with the objective's code, where it is somebody's own


@dataclass(frozen=True)
class _Planned:
    """One objective in one run, as it was asked for."""

    folder: str
    title: str
    run: RunVariant
    objective: Objective
    code: str | None = None


@dataclass(frozen=True)
class _Way:
    """What a run comes to on a USAE, found once for everything that is drawn so."""

    settings: MaximizeSettings  # resolved
    content: Mapping[str, Any]  # its part in the keys
    before: str  # `maco-coupled-`, with a variant, and where there are several modes
    behind: str  # `-seed-3`, where there are several seeds
    names: dict[tuple[str, ...] | None, tuple[str, ...]] = field(default_factory=dict)  # by the backbones asked for


@dataclass(frozen=True)
class RenderPlan:
    """All drawings, folder by folder.

    Attributes:
        animations: endings, gif and mp4.
        sheet: whether each folder gets a sheet.
        recipe: what was asked, as run.json keeps it.
    """

    drawings: tuple[RenderJob, ...]
    animations: tuple[str, ...] = ()
    sheet: bool = True
    recipe: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def folders(self) -> dict[str, list[RenderJob]]:
        """The drawings of each folder."""
        folders: dict[str, list[RenderJob]] = {}
        for drawing in self.drawings:
            folders.setdefault(drawing.folder, []).append(drawing)
        return folders

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return sum(len(drawing.names) for drawing in self.drawings)


def plan_recipe(usae: USAE, recipe: RenderRecipe, folder: Path, allow_code: bool = False) -> RenderPlan:
    """Work out what a recipe draws.

    Args:
        usae: the USAE.
        recipe: the recipe.
        folder: where it stands: modules of one's own are looked for there.
        allow_code: whether `module:function` may be imported.

    Raises:
        ValueError: for concepts and objectives that cannot be, for one that compares with a picture that is not given,
            and for two drawings of the same pictures or file.
    """
    recipe = recipe.imported(folder, allow_code)
    labels = labels_of(usae, recipe.labels)
    concepts = dict.fromkeys(k for item in dict.fromkeys(recipe.concepts) for k in select(usae, item, labels))
    _check_count(usae, recipe.ways(), len(concepts) + len(recipe.objectives))
    runs = [replace(run, settings=with_edits_bound(usae, run.settings, labels)) for run in recipe.runs()]
    named = names_of(labels_of(usae))
    templates, planned = dict.fromkeys(run.objective for run in runs), list[_Planned]()
    for k in concepts:
        title = caption(usae, k, named)
        drawn = {template: _for_concept(template, k, usae, labels) for template in templates}
        planned += [_Planned(f"concept-{k:05d}", title, run, drawn[run.objective]) for run in runs]
    codes: dict[Objective, str | None] = {}
    for text in dict.fromkeys(recipe.objectives):
        if is_custom(text):
            own = load_custom(text, folder, allow_code)
            codes[bound_in(usae, [own.objective], labels)[0]] = own.sha256
        else:
            (objective,) = bound_in(usae, [parse_objective(text)], labels)
            if str(objective) not in map(str, codes):
                codes[objective] = None
    if codes:
        as_they_stand = _apart_from_templates(runs, recipe.objective)
        said = {(str(own.objective), own.run.settings) for own in planned}
        beside = [own for own in codes if not said.issuperset((str(own), run.settings) for run in as_they_stand)]
        for objective, name in folders_of(beside, {own.folder for own in planned}).items():
            title, code = title_of(usae, objective), codes[objective]
            planned += [_Planned(name, title, run, objective, code) for run in as_they_stand]
    animations = tuple(kind for kind in ("gif", "mp4") if kind in recipe.outputs)
    drawings = _drawings(usae, planned, animations)
    return RenderPlan(drawings, animations, "sheet" in recipe.outputs, recipe.model_dump(mode="json"))


def plan_objectives(
    usae: USAE,
    objectives: Sequence[Objective],
    runs: Sequence[MaximizeSettings],
    animation: str = ANIMATION,
    code: str | None = None,
) -> RenderPlan:
    """Draw each objective with each run's settings; `code` is the sha256 of somebody's own, see `RenderJob`."""
    objectives = bound_in(usae, objectives)
    _check_count(usae, ((settings.seeds, 1) for settings in runs), len(objectives))
    ways = [RunVariant(None, settings) for settings in runs]
    planned = [
        _Planned(folder, title_of(usae, objective), run, objective, code)
        for objective, folder in folders_of(objectives).items()
        for run in ways
    ]
    animations = (animation,) if any(settings.snapshots for settings in runs) else ()
    return RenderPlan(_drawings(usae, planned, animations), animations)


def folders_of(objectives: Sequence[Objective], taken: Collection[str] = ()) -> dict[Objective, str]:
    """A folder each; where the words are the same (`a + b` and `a * b`), later ones get a number.

    Args:
        objectives: what is drawn.
        taken: folders of concepts, in which something else is drawn for them.
    """
    folders: dict[Objective, str] = {}
    for objective in objectives:
        first = folder_of(objective) if folder_of(objective) not in taken else words_of(objective)
        name, number = first, 1
        while name in folders.values():
            number += 1
            name = f"{first}-{number}"
        folders[objective] = name
    return folders


def given_pictures(settings: MaximizeSettings) -> dict[str, str]:
    """The files that a drawing starts from or compares with."""
    given = {"start": settings.start, "reference": settings.reference}
    return {name: file for name, file in given.items() if file is not None}


def _check_count(usae: USAE, ways: Iterable[tuple[int, int]], objectives: int) -> None:
    """Nothing; a ValueError for more pictures than anybody draws, before one of them is thought of.

    Args:
        usae: the USAE.
        ways: of pictures of each objective: how many seeds, how many times.
        objectives: how many there are, at most.
    """
    pictures = sum(seeds * times for seeds, times in ways) * objectives * len(usae.names)
    if pictures > MAX_IMAGES:
        raise UsageError(
            f"{pictures} pictures, all objectives, variants, modes, seeds and backbones taken together; expected at "
            f"most {MAX_IMAGES}: draw a part at a time"
        )


def _drawings(usae: USAE, planned: Sequence[_Planned], animations: Sequence[str]) -> tuple[RenderJob, ...]:
    check_objectives(usae, list(dict.fromkeys(own.objective for own in planned)))
    ways = _ways(usae, list(dict.fromkeys(own.run for own in planned)), animations)
    for run, way in ways.items():
        if way.settings.edits:
            check_edits(usae, way.settings, [own.objective for own in planned if own.run is run])
    drawings: list[RenderJob] = []
    for own in planned:
        objective, way = own.objective, ways[own.run]
        if objective.needs_reference and not given_pictures(way.settings):  # else said when all before it is drawn
            raise UsageError(f"objective {objective} compares with a picture; give one as `start` or `reference`")
        content = {**way.content, "folder": own.folder, "objective": str(objective), "code": own.code}
        if own.code is not None and objective.concepts:  # its text is its name, which may mean another concept today
            content["concepts"] = list(objective.concepts)
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
        names = way.names.setdefault(objective.backbones, ())
        if not names:
            pictures = pictures_of(usae, objective, way.settings)
            names = tuple(f"{way.before}{picture.name}{way.behind}" for picture in pictures)
            way.names[objective.backbones] = names
        drawings.append(
            RenderJob(objective, way.settings, own.run.variant, own.folder, own.title, names, key, own.code)
        )
    _check_apart(drawings)
    return tuple(drawings)


def _ways(usae: USAE, runs: Sequence[RunVariant], animations: Sequence[str]) -> dict[RunVariant, _Way]:
    """What each run comes to."""
    modes, seeds = dict[str | None, set[str]](), dict[str | None, set[int]]()
    for run in runs:
        modes.setdefault(run.variant, set()).add(run.settings.mode)
        seeds.setdefault(run.variant, set()).add(run.settings.seed)
    hashes = {file: _hash(file) for file in {f for run in runs for f in given_pictures(run.settings).values()}}
    spectrum, ways = cache(spectrum_hash), dict[RunVariant, _Way]()
    for run in runs:
        settings = resolved(usae, run.settings)
        unasked = {"memory", "verdict", *given_pictures(settings), "spectrum"}  # a verdict is given anew on old figures
        unasked |= {name for name in LATER if getattr(settings, name) == MaximizeSettings.model_fields[name].default}
        content = {
            "settings": settings.model_dump(mode="json", exclude=unasked),
            "animations": list(animations),
            "given": {name: hashes[file] for name, file in given_pictures(settings).items()},
            "spectrum": settings.spectrum and spectrum(settings.spectrum),
            "usae": usae.sha256,
            "version": DRAWN_AS.get(usae.device.type, DRAWN_ON_GPU_AS),
            **own_hashes([settings]),
        }
        before = f"{run.variant}-" if run.variant is not None else ""
        before += "coupled-" if len(modes[run.variant]) > 1 and settings.mode == "coupled" else ""
        behind = f"-seed-{settings.seed}" if len(seeds[run.variant]) > 1 else ""
        ways[run] = _Way(settings, content, before, behind)
    return ways


def _check_apart(drawings: Sequence[RenderJob]) -> None:
    """Nothing; a ValueError for two drawings that are the same or go into one file, and for a file's name with a /."""
    keys: dict[tuple[str, str], RenderJob] = {}
    files: dict[tuple[str, str], RenderJob] = {}
    for drawing in drawings:
        other = keys.setdefault((drawing.folder, drawing.key), drawing)
        if other is not drawing:
            raise UsageError(
                f"{_said(other)} and {_said(drawing)} draw the same pictures of {drawing.objective}; keep one of them"
            )
        for name in drawing.names:
            if "/" in name or "\\" in name or name.startswith("."):
                raise UsageError(f"a picture named {name!r} would leave the output folder; rename the backbone")
            other = files.setdefault((drawing.folder.casefold(), name.casefold()), drawing)
            if other is not drawing or name.casefold() in ("sheet", "scores"):
                raise UsageError(
                    f"{_said(other)} and {_said(drawing)} would write one file, {drawing.folder}/{name}.png; rename one"
                )


def _said(drawing: RenderJob) -> str:
    what = f"variant {drawing.variant!r}" if drawing.variant is not None else "the recipe"
    return f"{what} ({drawing.settings.mode}, seed {drawing.settings.seed})"


def _apart_from_templates(runs: Sequence[RunVariant], template: str) -> list[RunVariant]:
    """The runs without those that differ from others in what they draw for a concept and in nothing else."""
    settings, kept = {run.settings for run in runs if run.objective == template}, list[RunVariant]()
    for run in runs:
        if run.objective == template or run.settings not in settings:
            kept.append(run)
            settings.add(run.settings)
    return kept


def _for_concept(template: str, k: int, usae: USAE, labels: Sequence[Label]) -> Objective:
    if is_custom(template):
        raise UsageError(f"objective {template!r}: a function of your own stands under `objectives`")
    (objective,) = bound_in(usae, [parse_objective(template.replace("{k}", str(k)))], labels)
    if "{k}" not in template or objective.concepts[:1] != (k,):
        raise UsageError(
            f"objective {template!r}: expected Concept({{k}}) as its first concept; it is what is verified"
        )
    return objective


def _hash(file: str) -> str:
    try:
        return file_hash(named_place(file))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
