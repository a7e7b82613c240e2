"""`usae-viz explore`, `rate` and `rate-score`: the commands that make pages, and read what comes back from them."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import as_text, figure_table, plural, say, say_json, say_table
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Device, Quiet, WorkerCount
from usae_train.runtime.terminal import one_line_errors, pick_device, progress_report
from usae_viz.commands.completions import complete_usae
from usae_viz.commands.options import JsonForTable, PatchImages, take_patch_images
from usae_viz.commands.output_folders import new_run
from usae_viz.explorer.settings import ExploreSettings
from usae_viz.rating.settings import RateSettings


@takes_settings(ExploreSettings)
def explore(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_USAE...",
            autocompletion=complete_usae,
            help="Run folders: a card per drawn concept. `demo`, `photos`, a USAE folder or a hub id: a card for every "
            "concept. Both can be given together, and several runs to compare them.",
        ),
    ],
    settings: ExploreSettings,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for index.html; by default the run's own, or else outputs/explore-TIME.",
        ),
    ] = None,
    images: PatchImages = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = "auto",
    workers: WorkerCount = None,
    quiet: Quiet = False,
) -> None:
    """Write a page to look at concepts: pictures, top-activating patches, figures; sort, filter, compare.

    The page works from disk and without the network; its folder can be zipped and mailed.
    """
    with one_line_errors():
        from usae_train.model.outline import outline_here
        from usae_train.runtime.workers import one_thread
        from usae_viz.commands.early_checks import check_patch_images
        from usae_viz.explorer.places import check_explorer_place, names_run

        place = out or _default_place(places)
        check_explorer_place(place)
        _check_patches(settings, images)
        for each in places:
            names_run(each)
        if settings.usae is not None:
            outline_here(settings.usae)
        check_patch_images(images)
        from usae_viz.explorer.page import address, size_of
        from usae_viz.explorer.page import explore as write
        from usae_viz.explorer.sources import open_sources

        one_thread()
        sources = open_sources(places, settings.usae, settings.pictures_only, pick_device(device))
        if sources.usae is not None and settings.patches:
            take_patch_images(sources.usae, images, quiet)
        with progress_report(quiet) as report:
            missing = write(sources, place, settings.patches, report, workers)
        say(*missing, err=True)
        if not quiet:
            kilobytes = size_of(place) / 1000
            size = f"{kilobytes / 1000:.1f} MB" if kilobytes >= 1000 else f"{kilobytes:.0f} kB"
            say(f"{place / 'index.html'}: {plural(len(sources.cards), 'card')}, {size}")
        if open_page:
            webbrowser.open(address(place / "index.html"))


def _check_patches(settings: ExploreSettings, images: str | None) -> None:
    """Wrong usage where top-activating patches are left out and asked for."""
    without = "--pictures-only" if settings.pictures_only else "--patches 0" if settings.patches == 0 else None
    if without is not None and images is not None:
        raise typer.BadParameter(f"--images shows top-activating patches, which {without} leaves out")
    if settings.pictures_only and settings.patches and "patches" in settings.model_fields_set:
        raise typer.BadParameter("--patches counts top-activating patches, which --pictures-only leaves out")


@takes_settings(RateSettings)
def rate(
    run: Annotated[Path, typer.Argument(help="A run folder; its pictures of single concepts are asked about.")],
    settings: RateSettings,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the study; outputs/rate-TIME by default.")
    ] = None,
    images: PatchImages = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make a page for human raters: which of these top-activating patches does a picture belong to?

    It is blind: study/ tells neither concept nor backbone nor answer. Hand study/ to raters, keep key.json.
    """
    with one_line_errors():
        from usae_train.model.outline import outline_here
        from usae_viz.commands.early_checks import check_patch_images
        from usae_viz.rating.places import check_study_place
        from usae_viz.runs.places import check_run

        check_run(run)
        place = out or new_run("rate")
        check_study_place(place)
        if settings.usae is not None:
            outline_here(settings.usae)
        check_patch_images(images)
        from usae_train.model.natural import natural_pictures
        from usae_viz.explorer.sources import open_sources
        from usae_viz.rating.study import make_study, write_study

        sources = open_sources([str(run)], settings.usae, device=pick_device(device))
        assert sources.usae is not None
        take_patch_images(sources.usae, images, quiet)
        natural, why = natural_pictures(sources.usae)
        if natural is None:
            raise UsageError(f"a study needs top-activating patches. {why}")
        usae, run_folder, seed = sources.usae, sources.runs[0], settings.seed
        with progress_report(quiet) as report:
            progress = stage_counter(report, "questions")
            questions = make_study(usae, natural, run_folder, seed, settings.choices, settings.controls, progress)
        write_study(questions, usae, natural.source, run_folder, seed, place)
        if not quiet:
            page, count = place / "study" / "index.html", plural(len(questions), "question")
            say(f"{page}: {count}; keep {place / 'key.json'} to yourself")


def rate_score(
    study: Annotated[Path, typer.Argument(help="The folder that `usae-viz rate` wrote, with key.json.")],
    answers: Annotated[list[Path], typer.Argument(help="CSV files that the page exported, one per rater.")],
    as_json: JsonForTable = False,
) -> None:
    """Score raters' answers against chance: binomial tests, over all and by condition."""
    with one_line_errors():
        from usae_viz.rating.scoring import score_answers

        outcomes = score_answers(study, answers)
        if as_json:
            say_json([outcome.as_dict() for outcome in outcomes])
            return
        headings = ("questions", "answered", "right", "share", "95% interval", "chance", "p")
        table = figure_table(headings, {"questions"})
        for each in outcomes:
            table.add_row(
                as_text(each.group),
                str(each.answered),
                str(each.right),
                f"{each.share:.0%}",
                f"{each.low:.0%} to {each.high:.0%}",
                f"{each.chance:.0%}",
                f"{each.p:.2g}",
            )
        say_table(table)
        say("p: chance of at least as many right answers by guessing, one-sided binomial; interval: Wilson")


def _default_place(places: list[str]) -> Path:
    """A run alone keeps its page itself."""
    from usae_train.files.place_names import path_of_name
    from usae_viz.runs.places import is_run

    if len(places) == 1 and is_run(place := path_of_name(places[0])):
        return place
    return new_run("explore")
