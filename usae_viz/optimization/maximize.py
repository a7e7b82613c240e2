"""`maximize`: one objective, every backbone, the same start; pictures and their verification come back."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from usae_train.files.validation import check_settings
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.progress import StepCallback
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.concepts.edit_text import edits_of
from usae_viz.concepts.labels import labels_of
from usae_viz.custom_code.part import CustomPart
from usae_viz.export.animation import Frames
from usae_viz.objectives import Objective
from usae_viz.objectives.binding import bound_in
from usae_viz.optimization.batching import bytes_per_picture, canvas_count, custom_image_bytes, max_batch_size
from usae_viz.optimization.by_objective import settings_for
from usae_viz.optimization.checks import check_objectives
from usae_viz.optimization.drawing import (
    CanvasBatch,
    DrawnCanvases,
    DrawTogether,
    canvas_specs,
    draw_together,
    starting_image,
)
from usae_viz.optimization.edited import check_edits, with_edits_bound
from usae_viz.optimization.given_pictures import canvas_at, name_given_pictures, whole_picture
from usae_viz.optimization.halving import HalvingDraw
from usae_viz.optimization.loop import InvalidImageScore
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.optimization.result import Result, closing_lines
from usae_viz.settings import MaximizeOptions, MaximizeSettings
from usae_viz.verification.classes import score_class_images
from usae_viz.verification.concepts import score_images
from usae_viz.verification.noise import ScoringConfig, shared_noise
from usae_viz.verification.scores import Scores
from usae_viz.views.viewing import ViewConfig

if TYPE_CHECKING:
    from usae_train.images.picture_input import Picture

# The settings that decide how a drawing starts: where they are equal, pictures of noise are shared.
STARTS_BY = {"parameterization", "size", "decay", "contrast", "spectrum"}


@with_torch_defaults
def maximize(
    usae: USAE,
    objective: Objective,
    *,
    start: Picture | None = None,
    reference: Picture | None = None,
    labels: str | Path | None = None,
    progress: StepCallback = lambda done, scores: None,
    quiet: bool = False,
    **settings: Unpack[MaximizeOptions],
) -> Result:
    """Draw an objective as each backbone sees it: coordinated activation maximization.

    Top-activating patches of pictures of your own are not a setting: `usae_train.top_patches(usae, 412, "held")`
    finds them, and `docs/python.md` says how a result's sheet shows them.

    Args:
        usae: a USAE with backbones.
        objective: what to make large, such as `Concept(412) - 0.5 * Concept(7)`.
        start: a picture to start from, of which the centre square is taken: a file, open or by name; a PIL image; a
            NumPy array, uint8 (H, W, 3) or float 0..1 (3, H, W) or (H, W, 3); a tensor (3, H, W), 0..1. Noise by
            default.
        reference: a picture that `Closeness` and `SameCodes` compare with; the start by default.
        labels: your own names for concepts, the JSON that the explorer exports, beside those that the USAE has.
        progress: called after each step with the number of steps done and {backbone: score}.
        quiet: show no bar, and say nothing at the end.
        settings: fields of `MaximizeSettings`: mode, parameterization, size, steps, views, learning_rate, seed, ...

    Returns:
        Pictures, and their verification for the objective's first concept, or class.

    Raises:
        ValueError: for invalid settings, concepts, pictures or scores; one line.

    Warns:
        UserWarning: when the optimization ended early; `Result.ended` says why.
    """
    check_usae(usae)
    drawing_settings = check_settings(MaximizeSettings, **settings)
    usable_labels = None if labels is None else labels_of(usae, labels)
    bound_objectives = bound_in(usae, [objective], usable_labels)
    drawing_settings = with_edits_bound(usae, drawing_settings, usable_labels)
    with progress_display(quiet) as display:

        def stepped(done: int, scores: dict[str, Any]) -> None:
            display.report("steps", done, drawing_settings.steps, "")
            progress(done, scores)

        (result,) = maximize_each(usae, bound_objectives, drawing_settings, stepped, start, reference)
        display.close(lambda: closing_lines(result))
    if result.ended is not None:
        warnings.warn(result.ended, stacklevel=2)
    return result


@with_torch_defaults
def maximize_each(
    usae: USAE,
    objectives: Sequence[Objective],
    settings: MaximizeSettings,
    progress: StepCallback = lambda done, scores: None,
    start: Picture | None = None,
    reference: Picture | None = None,
    draw: DrawTogether = draw_together,
) -> Iterator[Result]:
    """Draw several objectives, as many at a time as fit into the memory; yields each result when it is done.

    After one that Ctrl-C ended there come no more; one whose score became NaN or infinite (`Result.failed`) ends alone.

    Args:
        usae: a USAE with backbones.
        objectives: what to make large.
        settings: of all of them.
        progress: as for `maximize`; a score is the mean over the pictures drawn at once.
        start: as for `maximize`; the file that the settings name, or noise, by default.
        reference: as for `maximize`; the file that the settings name, or the start, by default.
        draw: how a batch of pictures is drawn; in one loop by default.

    Raises:
        ValueError: as `maximize`; also for a score that is not finite at the first step, after those before it.
    """
    objectives, view_config, settings, start = _prepared(usae, objectives, settings, start, reference)
    draw = draw if isinstance(draw, HalvingDraw) else HalvingDraw(draw)
    for resolved, group in groupby(objectives, lambda objective: settings_for(usae, objective, settings)):
        remaining = list(group)
        template = CanvasBatch(_by_objective(view_config, resolved), (), resolved, start, progress)
        while remaining:
            pack = _up_to_a_repeat(remaining[: view_config.batch_size])
            if not (count := (yield from _draw(template, pack, draw))):
                return
            del remaining[:count]


def _up_to_a_repeat(objectives: Sequence[Objective]) -> list[Objective]:
    """The first objectives, none of them twice: pictures that are drawn at once are distinguished by theirs."""
    pack = dict[int, Objective]()
    for objective in objectives:
        if id(objective) in pack:
            break
        pack[id(objective)] = objective
    return list(pack.values())


@with_torch_defaults
def draw_group(
    usae: USAE,
    objective: Objective,
    settings: MaximizeSettings,
    rows: range,
    progress: StepCallback = lambda done, scores: None,
) -> DrawnCanvases:
    """Draw some of an objective's pictures, those of a group of `image_groups`, without verification.

    `rows` are of `canvas_specs`; all else is as for `maximize_each`.
    """
    (objective,), view_config, settings, start = _prepared(usae, [objective], settings)
    settings = settings_for(usae, objective, settings)
    specs = canvas_specs(usae, objective, settings)[rows.start : rows.stop]
    (canvases,) = draw_together(CanvasBatch(_by_objective(view_config, settings), specs, settings, start, progress))
    return canvases


def _by_objective(view_config: ViewConfig, settings: MaximizeSettings) -> ViewConfig:
    """The same with what `settings_for` an objective has filled in."""
    weight = settings.feature_statistics or 0.0
    whole_first = settings.whole_first or 0.0
    return replace(view_config, augmentation=settings.augmentation, whole_first=whole_first, statistics_weight=weight)


def _prepared(
    usae: USAE,
    objectives: Sequence[Objective],
    settings: MaximizeSettings,
    start: Picture | None = None,
    reference: Picture | None = None,
) -> tuple[list[Objective], ViewConfig, MaximizeSettings, Tensor | None]:
    """Objectives with numbers for names, how they are shown, the settings resolved, and the picture to start from."""
    objectives = bound_in(usae, objectives)
    check_objectives(usae, objectives)
    settings, pictures_by_name = name_given_pictures(settings, {"start": start, "reference": reference})
    pictures = [whole_picture(pictures_by_name.get(name), getattr(settings, name)) for name in ("start", "reference")]
    settings = resolve_settings(usae, settings)
    check_edits(usae, settings, objectives)
    assert settings.size is not None
    device = usae.device
    start_canvas, reference_canvas = (canvas_at(picture, settings.size, device) for picture in pictures)
    view_config = view_config_for(
        usae, settings, objectives, start_canvas if reference_canvas is None else reference_canvas
    )
    return objectives, view_config, settings, start_canvas


def _draw(template: CanvasBatch, pack: Sequence[Objective], draw: DrawTogether) -> Generator[Result, None, int]:
    """Draw a pack of objectives, or as many of its first as fit, a result each; returns how many, 0 after Ctrl-C.

    The template says how; the canvases are those of the pack.

    A score that is not finite ends its own objective only: the others of the pack are then drawn one by one.

    Raises:
        InvalidImageScore: for a score that is not finite at the first step, when those before it are there.
    """
    usae, settings = template.view_config.usae, template.settings
    specs = [spec for objective in pack for spec in canvas_specs(usae, objective, settings)]
    canvases: list[DrawnCanvases] = []
    try:
        canvases = draw(replace(template, specs=specs))
        row, why = next((each.result.failed_row for each in canvases if each.result.failed_row is not None), None), ""
    except InvalidImageScore as error:
        row, why = error.row, str(error)  # and no traceback, which holds what the whole pack keeps for its gradient
    if canvases and row is None:
        objectives_drawn = {id(spec.objective) for each in canvases for spec in each.specs}
        yield from _results(template.view_config, pack, canvases, settings)
        return 0 if any(each.result.cut_short for each in canvases) else len(objectives_drawn)
    assert row is not None
    failed_objective = specs[row].objective
    ended = list(_results(template.view_config, [failed_objective], canvases, settings)) if canvases else []
    del canvases  # the others' canvases
    for objective in pack:
        if objective is failed_objective:
            if not ended:
                raise InvalidImageScore(row, why)
            yield from ended
        elif not (yield from _draw(template, [objective], draw)):
            return 0
    return len(pack)


def view_config_for(
    usae: USAE, settings: MaximizeSettings, objectives: Sequence[Objective] = (), reference: Tensor | None = None
) -> ViewConfig:
    """How resolved settings show the pictures of some objectives to the backbones, and how many at once.

    Raises:
        ValueError: when not even one objective's fit into the memory.
    """
    assert settings.size is not None
    view_config = _alone_in_view(usae, settings, objectives, reference)
    canvases, compared = _canvas_counts(usae, settings, objectives)
    batch_size = max_batch_size(view_config, settings.size, settings.memory, canvases, settings.seeds, compared)
    return replace(view_config, batch_size=batch_size)


def bytes_of(usae: USAE, settings: MaximizeSettings, objectives: Sequence[Objective]) -> int:
    """Bytes that one of these objectives takes while it is drawn, all its pictures together; see `view_config_for`."""
    assert settings.size is not None
    view_config = _alone_in_view(usae, settings, objectives)
    return bytes_per_picture(view_config, usae.backbones, settings.size, *_canvas_counts(usae, settings, objectives))


def _alone_in_view(
    usae: USAE, settings: MaximizeSettings, objectives: Sequence[Objective], reference: Tensor | None = None
) -> ViewConfig:
    """How resolved settings show a picture, one at once, where most is kept for its gradient."""
    part = settings.parameterization
    weights = (settings_for(usae, each, settings).feature_statistics or 0.0 for each in objectives)
    return ViewConfig(
        usae,
        settings.augmentation,
        settings.views,
        settings.dtype,
        reference=reference,
        statistics_weight=max(weights, default=0.0),
        transforms=settings.transforms,
        canvas_bytes=custom_image_bytes(part, settings.size) if isinstance(part, CustomPart) and settings.size else 0,
        edits=edits_of(usae, settings.edits),
    )


def _canvas_counts(usae: USAE, settings: MaximizeSettings, objectives: Sequence[Objective]) -> tuple[int, int]:
    """How many canvases an objective has, and how many of them go through a backbone at once."""
    return canvas_count(usae, settings), settings.seeds if any(objective.whole_batch for objective in objectives) else 1


def _results(
    view_config: ViewConfig,
    objectives: Sequence[Objective],
    groups: Sequence[DrawnCanvases],
    settings: MaximizeSettings,
) -> Iterator[Result]:
    """Take the pictures of several objectives apart, and verify each."""
    given_picture = None if view_config.reference is None else view_config.reference.cpu()
    for objective in objectives:
        places = {
            spec.name: (group, row)
            for group in groups
            for row, spec in enumerate(group.specs)
            if spec.objective is objective
        }
        if not places:  # Ctrl-C came before it was started
            continue
        images = {name: group.result.canvas[row] for name, (group, row) in places.items()}
        backbones = {name: group.specs[row].backbones for name, (group, row) in places.items()}
        drawn_for = {name: _to_be_verified_in(objective, names) for name, names in backbones.items()}
        scores = verify_images(view_config.usae, objective, settings, images, drawn_for)
        ended, n_frames = _ending(list(places.values()), settings)
        images = {name: image.cpu() for name, image in images.items()}
        frames = {
            name: Frames(group.snapshots, row, n_frames, images[name])
            for name, (group, row) in places.items()
            if group.snapshots is not None
        }
        yield Result(
            usae=view_config.usae,
            objective=objective,
            images=images,
            alpha={name: group.result.attention[row].cpu() for name, (group, row) in places.items()},
            scores=scores,
            settings=settings,
            frames=frames,
            given=given_picture,
            ended=ended,
            cut_short=any(group.result.cut_short for group in groups),
            failed=any(group.result.failed_row is not None for group in groups),
        )


def _ending(places: Sequence[tuple[DrawnCanvases, int]], settings: MaximizeSettings) -> tuple[str | None, int]:
    """Why some pictures, each a row of its loop, were done before the last step; and how many frames they have."""
    converged_after = [canvases.result.converged_after[row] for canvases, row in places]
    ended = next((canvases.result.ended for canvases, _ in places if canvases.result.ended is not None), None)
    frames = max((canvases.snapshots.count for canvases, _ in places if canvases.snapshots is not None), default=0)
    if ended is None and all(converged_after) and max(converged_after) < settings.steps:  # others may have gone on
        ended = f"settled after {max(converged_after)} of {settings.steps} steps"
        frames = (max(converged_after) - 1) // settings.snapshots + 1 if settings.snapshots else 0
    return ended, frames


def verify_images(
    usae: USAE,
    objective: Objective,
    settings: MaximizeSettings,
    images: dict[str, Tensor],
    drawn_for: dict[str, Sequence[str]],
) -> Scores | None:
    """Score pictures {name: (3, H, W)}, each drawn for some backbones with resolved settings, for what they are of.

    That is the concept to `verify`, the objective's first concept, or its first class; None for one of neither.
    """
    # a drawing that starts from a picture is compared with the same noise as the others of this USAE
    plain = settings if settings.start is None else resolve_settings(usae, settings.model_copy(update={"start": None}))
    start = plain.model_dump_json(include=STARTS_BY), plain.parameterization  # two of one name may be different code
    noise = shared_noise(usae, start, lambda seeds: starting_canvases(plain, seeds))
    config = ScoringConfig(settings.seed, noise, settings.verdict)
    concept = next(iter(objective.concepts), None) if settings.verify is None else settings.verify
    if concept is not None:
        return score_images(usae, concept, images, drawn_for, config)
    if objective.classes:
        return score_class_images(usae, objective.classes, images, drawn_for, config)
    return None


@torch.no_grad()
def starting_canvases(settings: MaximizeSettings, seeds: Sequence[int]) -> Tensor:
    """Canvases (seed, 3, H, W) that nothing was optimized in."""
    canvases: Tensor = starting_image(settings, seeds)()
    return canvases


def _to_be_verified_in(objective: Objective, backbones: Sequence[str]) -> Sequence[str]:
    """The backbones that a picture is to fire its concept in: not those in which the objective asks for less."""
    return [name for name in backbones if objective.maximized is None or name in objective.maximized] or backbones
