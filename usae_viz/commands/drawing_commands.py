"""`usae-viz maximize` and `invert`: drawing what the command line asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usae_train.runtime.settings_options import knows_former, takes_settings
from usae_train.runtime.shared_options import Device, Quiet, WorkerCount
from usae_train.runtime.terminal import one_line_errors, pick_device, wrong_usage
from usae_viz.commands.completions import complete_concept, complete_usae
from usae_viz.commands.drawing_report import render_and_report
from usae_viz.commands.options import JsonForTable, PatchImages, take_patch_images
from usae_viz.commands.output_folders import new_run
from usae_viz.runs.settings import DrawSettings
from usae_viz.settings import MaximizeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from usae_train.model.usae import USAE
    from usae_viz.objectives import Objective
    from usae_viz.runs.plan import RenderPlan
    from usae_viz.runs.render import RenderExecution

RunOut = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; by default a new one in outputs/.")]
AllowCustomParts = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Let --parameterization and --transforms import your own code, `module:Name`, from the current "
        "folder; your own objective goes into a recipe (usae-viz render).",
    ),
]
ConceptText = Annotated[
    str | None,
    typer.Option(
        "--concept",
        "-c",
        autocompletion=complete_concept,
        help="An index, several separated by commas, a range such as `40-42`, `all`, `top:8` for the most universal, a "
        "name such as `eyes` (see usae-viz concepts), in the demo what it follows, such as `red` or `colour:*`. "
        "Each is drawn by itself, in addition to --objective.",
    ),
]
ObjectiveTexts = Annotated[
    list[str] | None,
    typer.Option(
        help="An expression such as `Concept(12) - 0.5 * Concept(7)`; of Concept, Direction, Channel, Class, "
        "Logit, LogProbability, TotalVariation, L2, Diversity, Closeness, SameCodes. Can be given several times: "
        "each is drawn by itself; what is added up goes into one expression."
    ),
]
ClosenessWeight = Annotated[
    float | None,
    typer.Option(help="With --start: how strongly the picture is held to what backbones see in it; 5 by default."),
]


@takes_settings(DrawSettings, completions={"usae": complete_usae})
@takes_settings(MaximizeSettings, leave_out=["reference"], ranges=False)
def maximize(
    concept: ConceptText = None,
    objective: ObjectiveTexts = None,
    *,
    draw: DrawSettings,
    closeness: ClosenessWeight = None,
    images: PatchImages = None,
    allow_code: AllowCustomParts = False,
    out: RunOut = None,
    device: Device = "auto",
    workers: WorkerCount = None,
    quiet: Quiet = False,
    as_json: JsonForTable = False,
    **settings: Any,
) -> None:
    """Draw a concept through every backbone, verify the pictures, and write PNGs, a sheet and the scores.

    Without a terminal, a line about every half minute reports progress.
    """
    with one_line_errors():
        from usae_viz.commands.early_checks import check_patch_images
        from usae_viz.objectives.closeness import Closeness, with_closeness

        if concept is None and not objective:
            raise typer.BadParameter("say what to draw: --concept or --objective")
        start = settings.get("start")
        if closeness is not None and start is None:
            raise typer.BadParameter("--closeness needs a picture to stay close to: give it with --start")
        with wrong_usage():
            with_closeness(Closeness(), closeness)
        draw_settings = _checked(draw, settings, concept, objective or [], out)
        check_patch_images(images)
        model, draw_settings = _loaded(draw, draw_settings, allow_code, device)
        objectives = _objectives(model, [concept] if concept is not None else [], objective or [], draw.labels)
        if start is not None:
            objectives = [with_closeness(each, closeness) for each in objectives]
        take_patch_images(model, images, quiet)
        plan, place = _plan(model, objectives, draw_settings, draw), out or new_run("maximize")
        render_and_report(model, plan, place, quiet, as_json, _draw_again(workers))


@knows_former({"backbones": "match"})
@takes_settings(DrawSettings, completions={"usae": complete_usae})
@takes_settings(MaximizeSettings, leave_out=["start", "reference"], ranges=False)
def invert(
    picture: Annotated[str, typer.Argument(help="A picture file.")],
    draw: DrawSettings,
    match: Annotated[
        str | None, typer.Option(help="Match the codes of these backbones alone, separated by commas; all by default.")
    ] = None,
    allow_code: AllowCustomParts = False,
    out: RunOut = None,
    device: Device = "auto",
    workers: WorkerCount = None,
    quiet: Quiet = False,
    as_json: JsonForTable = False,
    **settings: Any,
) -> None:
    """Draw, from noise, pictures with the codes of a given picture: what the concept space keeps of it."""
    with one_line_errors():
        from usae_viz.objectives import SameCodes

        objective = SameCodes([name.strip() for name in match.split(",")] if match else [])
        draw_settings = _checked(draw, {"reference": picture, **settings}, None, [str(objective)], out)
        model, draw_settings = _loaded(draw, draw_settings, allow_code, device)
        plan, place = _plan(model, [objective], draw_settings, draw), out or new_run("invert")
        render_and_report(model, plan, place, quiet, as_json, _draw_again(workers))


def _checked(
    draw: DrawSettings, options: Mapping[str, Any], concept: str | None, objectives: Sequence[str], out: Path | None
) -> MaximizeSettings:
    """The settings that were typed; what is to be drawn, and where, is checked with them before torch is loaded."""
    from usae_train.files.validation import check_settings
    from usae_viz.commands import early_checks
    from usae_viz.objectives import parse_objective

    if "animation" in draw.model_fields_set and options.get("snapshots") is None:
        raise typer.BadParameter("--animation needs snapshots: give the steps from one to the next with --snapshots")
    with wrong_usage():
        settings = check_settings(MaximizeSettings, **options)
        list(map(parse_objective, objectives))
    outline_labels = early_checks.outline_and_labels(draw.usae, draw.labels)
    early_checks.check_concepts_and_objectives(outline_labels, concept, objectives)
    early_checks.check_drawing(outline_labels, settings)
    early_checks.check_place(out)
    return settings


def _loaded(
    draw: DrawSettings, settings: MaximizeSettings, allow_code: bool, device: str
) -> tuple[USAE, MaximizeSettings]:
    """The USAE, and the settings with the code that they name."""
    from usae_train.runtime.workers import one_thread

    one_thread()
    settings = settings.imported(Path.cwd(), allow_code)
    from usae_train.model.checkpoint import load

    return load(draw.usae, pick_device(device)), settings


def _objectives(usae: USAE, concepts: Sequence[str], expressions: Sequence[str], labels: str | None) -> list[Objective]:
    """What was asked for, each once: concepts by index, label, `top:8` or a name; expressions."""
    from usae_viz.concepts.labels import labels_of
    from usae_viz.concepts.parsing import parse_concepts
    from usae_viz.objectives import Concept, parse_objective
    from usae_viz.objectives.binding import bound_in

    label_list = labels_of(usae, labels)
    indices = dict.fromkeys(concept for text in concepts for concept in parse_concepts(usae, text, label_list))
    with wrong_usage():
        parsed_objectives = [parse_objective(text) for text in expressions]
    parsed_objectives = bound_in(usae, parsed_objectives, label_list)
    objectives = [Concept(concept) for concept in indices] + parsed_objectives
    return list({str(each): each for each in objectives}.values())


def _plan(usae: USAE, objectives: Sequence[Objective], settings: MaximizeSettings, draw: DrawSettings) -> RenderPlan:
    from usae_viz.concepts.labels import labels_of
    from usae_viz.optimization.edited import with_edits_bound
    from usae_viz.runs.plan import plan_objectives

    settings = with_edits_bound(usae, settings, labels_of(usae, draw.labels))
    return plan_objectives(usae, objectives, [settings], draw.animation)


def _draw_again(workers: int | None) -> RenderExecution:
    """Finished pictures are drawn again: a command line says what to draw, not what is missing."""
    from usae_viz.runs.render import RenderExecution

    return RenderExecution(again=True, workers=workers)
