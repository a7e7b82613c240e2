"""The commands around recipes: `render`, `show` and `recipes`."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import as_text, figure_table, plural, say, say_json, say_table
from usae_train.runtime.settings_options import refuse_beside, takes_settings
from usae_train.runtime.shared_options import Device, Quiet, WorkerCount
from usae_train.runtime.terminal import is_alone, one_line_errors, pick_device
from usae_viz.commands.completions import complete_recipe, complete_usae
from usae_viz.commands.drawing_report import render_and_report
from usae_viz.commands.options import JsonForTable, PatchImages, take_patch_images
from usae_viz.commands.output_folders import STAMP, new_run
from usae_viz.runs.settings import DrawSettings, RenderSettings
from usae_viz.runs.shipped_recipes import describe_recipe, find_recipe, shipped_recipes

if TYPE_CHECKING:
    from usae_train.model.usae import USAE
    from usae_viz.runs.estimate import Estimate
    from usae_viz.runs.plan import RenderPlan

RANKS_TIMEOUT = timedelta(days=30)  # one process may finish long before another; torchrun notices a dead one


RecipeName = Annotated[
    str | None,
    typer.Argument(
        help="A recipe, such as mine.yaml, or a shipped one by its name, such as first-look (see usae-viz "
        "recipes); or a PNG of usae-viz, to be drawn again.",
        autocompletion=complete_recipe,
    ),
]
RecipeOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Run folder; by default a new one in outputs/. In an existing one, only what is missing or has changed is "
        "drawn.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the run at --out, or the last run of this recipe.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be drawn, how long and how large, after a short trial.")
]
AllowRecipeCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Let a recipe import its own code, `module:Name` of objectives, parameterization or transforms.",
    ),
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors.")]


@takes_settings(RenderSettings, completions={"usae": complete_usae})
def render(
    context: typer.Context,
    recipe: RecipeName = None,
    *,
    settings: RenderSettings,
    images: PatchImages = None,
    out: RecipeOut = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    allow_code: AllowRecipeCode = False,
    schema: Schema = False,
    device: Device = "auto",
    workers: WorkerCount = None,
    quiet: Quiet = False,
    as_json: JsonForTable = False,
) -> None:
    """Draw what a recipe says: concepts and objectives x variants x modes x seeds, one folder each.

    A run that was stopped is resumed by the same --out, or by --resume. On the CPU it uses all cores; under `torchrun
    --nproc-per-node N -m usae_viz render RECIPE` the pictures are spread over GPUs and machines. Without a terminal,
    a line about every half minute reports progress.
    """
    with one_line_errors():
        if schema:
            refuse_beside(context, "--schema", {"schema", "as_json"})
            from usae_viz.runs.recipe import RenderRecipe

            say_json(RenderRecipe.model_json_schema())
            return
        if recipe is None:
            raise typer.BadParameter("say which recipe, such as first-look; usae-viz recipes lists the shipped ones")
        file = Path(find_recipe(recipe))
        if is_alone():
            _check_early(file, settings, images, None if dry_run else out, allow_code)
        from usae_train.runtime.distributed import ranks_of_torchrun
        from usae_viz.runs.render import RenderExecution

        if settings.threads > 1 and (workers or 1) > 1:
            raise typer.BadParameter(f"--threads {settings.threads} is for a single process; leave it or --workers out")
        with ranks_of_torchrun("cpu", RANKS_TIMEOUT) as ranks:  # which exchange nothing but text
            with ranks.raise_together():
                plan, model = _plan(file, settings, device, allow_code)
            place = ranks.compute_on_main(lambda: _place(file.stem, out, resume, dry_run))
            if settings.threads > 1:  # which have computed already, and would be missing in a forked process
                workers = 1
            if dry_run:
                if ranks.is_main:
                    _say_estimate(model, plan, place, as_json, workers, ranks.world_size)
                return
            execution = RenderExecution(ranks=ranks, workers=workers)
            with ranks.raise_together():
                take_patch_images(model, images, quiet or not ranks.is_main)
            render_and_report(model, plan, place, quiet or not ranks.is_main, as_json, execution)


def show(
    file: Annotated[Path, typer.Argument(help="A PNG that usae-viz wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything inside as JSON.")] = False,
) -> None:
    """Print a picture's settings, scores and versions, and the command that draws it again."""
    with one_line_errors():
        from usae_viz.runs.metadata import read_metadata

        metadata = read_metadata(file)
        from usae_viz.runs.show import code_of, command_again, metadata_lines, parts_of, why_not_again

        again, code, parts = command_again(file, metadata), code_of(metadata), parts_of(metadata)
        if as_json:
            say_json({**metadata.model_dump(mode="json"), "again": again, "runs": code, "runs_parts": parts})
            return
        say(*metadata_lines(metadata))
        for part in ([] if code is None else [code]) + parts:
            say(
                f"runs        {part['function']} of the module {part['module']}, sha256 {part['sha256']}, if the "
                "current folder has it: look at it, then add --allow-code to the command"
            )
        say(f"again       {again or f'not possible: {why_not_again(metadata)}'}")


def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: each name, its file, what it is.")] = False,
) -> None:
    """List the shipped recipes, which `usae-viz render NAME` draws. Copy a file to make one of your own."""
    with one_line_errors():
        shipped = [(name, file, describe_recipe(file)) for name, file in shipped_recipes().items()]
        if as_json:
            say_json([{"name": name, "file": str(file), "about": description} for name, file, description in shipped])
            return
        widest = max(len(name) for name, _, _ in shipped)
        for name, file, description in shipped:
            say(f"{name:{widest}}  {description}", f"{'':{widest}}  {file}")


def _check_early(file: Path, settings: RenderSettings, images: str | None, out: Path | None, allow_code: bool) -> None:
    """Raise an error for what is wrong in a recipe or its options, as far as it shows without torch."""
    from usae_viz.commands import early_checks
    from usae_viz.runs.metadata import read_metadata
    from usae_viz.runs.recipe import read_render_recipe

    early_checks.check_place(out)
    early_checks.check_patch_images(images)
    if file.suffix.lower() == ".png":
        read_metadata(file)
        return
    with warnings.catch_warnings(action="ignore"):  # they are shown when it is read to be drawn
        recipe = read_render_recipe(file, settings.labels)
    outline_labels = early_checks.outline_and_labels(settings.usae or recipe.usae, recipe.labels)
    try:
        early_checks.check_recipe(recipe, outline_labels, file.parent, allow_code)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _plan(file: Path, settings: RenderSettings, device: str, allow_code: bool) -> tuple[RenderPlan, USAE]:
    """What a recipe or a PNG comes to, and on which USAE."""
    import torch

    from usae_train.model.checkpoint import load
    from usae_viz.runs.metadata import read_metadata, usae_near
    from usae_viz.runs.run import plan_file
    from usae_viz.runs.show import changed_since, plan_again

    torch.set_num_threads(settings.threads)
    if file.suffix.lower() != ".png":
        return plan_file(file, settings.usae, settings.labels, allow_code, pick_device(device))
    metadata = read_metadata(file)
    model = load(settings.usae or usae_near(metadata.usae or DrawSettings().usae, file), pick_device(device))
    plan = plan_again(model, metadata, file, allow_code, settings.labels)
    if (changed := changed_since(file, metadata, plan.jobs[0].objective)) is not None:
        say(changed, err=True)
    return plan, model


def _place(name: str, out: Path | None, resume: bool, dry_run: bool) -> Path:
    """The run's folder."""
    if not resume:
        return out or new_run(name)
    if out is None:
        stamped = re.compile(re.escape(name) + STAMP)
        runs = [each for each in Path("outputs").glob("*/") if stamped.fullmatch(each.name)]
        runs = [run for run in runs if (run / "manifest").is_dir()]
        if not runs:
            raise UsageError(f"no run of {name} below outputs/ to resume; leave --resume out, or say --out")
        return max(runs, key=lambda run: [int(number) for number in re.findall(r"\d+", run.name[len(name) :])])
    if not (out / "manifest").is_dir() and not dry_run:
        raise UsageError(f"{out} holds no run to resume; leave --resume out")
    return out


def _say_estimate(usae: USAE, plan: RenderPlan, out: Path, as_json: bool, workers: int | None, ranks: int) -> None:
    from usae_viz.runs.estimate import estimate

    todo: Estimate = estimate(usae, plan, out, workers, ranks)
    if as_json:
        say_json(todo.as_dict())
        return
    table = figure_table(("variant", "mode", "of", "pictures", "seconds", "MB"), {"variant", "mode", "of"})
    for group in todo.groups:
        figures = (str(group.pictures), f"{group.seconds:.1f}", f"{group.megabytes:.2f}")
        table.add_row(as_text(group.variant or ""), group.mode, group.kind, *figures)
    pictures = sum(group.pictures for group in todo.groups)
    say(f"{plural(pictures, 'picture')} to draw in {plural(todo.folders, 'folder')}, {todo.finished} there already")
    say_table(table)
    minutes, seconds = divmod(round(todo.seconds), 60)
    where = "this CPU" if usae.device.type == "cpu" else "this GPU"
    who = "one process" if todo.processes == 1 else f"{todo.processes} processes"
    say(f"about {minutes} min {seconds} s by {who} on {where}, {todo.megabytes:.1f} MB without sheets")
