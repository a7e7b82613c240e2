"""`usae-train evaluate` and `spectrum`: the commands that measure, and make nothing new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usae_train.command_app import wrong_usage
from usae_train.commands.opening import open_pictures
from usae_train.commands.options import SOURCES, Device, Dtype, Images, LabelColumn, Limit, Quiet, Seed
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural, say, say_json, say_table
from usae_train.runtime.settings_options import knows_former
from usae_train.runtime.terminal import Workers, one_line_errors, pick_device, progress_bars, say_skipped, watched


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(evaluate)
    app.command()(spectrum)


@knows_former({"every": "checkpoint_minutes"})
def evaluate(
    usae: Annotated[str, typer.Argument(help="`demo`, `photos`, a USAE folder or a hub id.")],
    images: Annotated[str, typer.Argument(help=f"Pictures it was not trained on: {SOURCES}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.json and index.html.")],
    independent: Annotated[
        Path | None,
        typer.Option(help="Folder of `usae-train fit --independent`: also measures what universality costs and beats."),
    ] = None,
    other_seed: Annotated[
        list[str] | None,
        typer.Option(help="A fit with another --seed or --init-seed, for stability; may be given more than once."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="A network that took no part, which says how alike the pictures are that a concept fires on: a timm "
            "id, or a YAML of specs and a name, `specs.yaml:dino`; `own:NAME` is one of the USAE's own."
        ),
    ] = None,
    answers: Annotated[
        bool | None,
        typer.Option(
            "--answers/--no-answers",
            help="What of a classifier's answers survives the reconstruction of its tokens. Unless told: where a "
            "backbone has a classifier.",
        ),
    ] = None,
    label_column: LabelColumn = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 32,
    limit: Limit = None,
    fill: Annotated[
        bool | None,
        typer.Option(
            "--fill/--no-fill",
            help="Put the statistics into the USAE's folder. Unless told: if they are of at least as many pictures as "
            "those that are there.",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes between two states that can be resumed from.")
    ] = 2.0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what report.json holds, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Measure a USAE on pictures, and write a report: what is shared, what is dead, what follows the truth.

    Stopped by Ctrl-C, a kill or a crash, it is resumed by the same command. On the CPU it uses all cores;
    under torchrun the processes share the pictures.
    """
    with one_line_errors():
        import json
        import shutil

        from usae_train.backbones.backbone import check_run_in, run_backbones_in
        from usae_train.evaluation.checkpointing import PassKeeper
        from usae_train.evaluation.evaluate import Compared
        from usae_train.evaluation.evaluate import evaluate as measure
        from usae_train.evaluation.independent import load_independent
        from usae_train.evaluation.judging import open_judge
        from usae_train.evaluation.report import write_report
        from usae_train.evaluation.stands_for import answers_table, refused_lines, stands_for_lines
        from usae_train.evaluation.verdict import ceiling_lines, headline
        from usae_train.files.atomic import check_file
        from usae_train.model.checkpoint import fill_statistics, fills, load
        from usae_train.runtime.distributed import named_by_torchrun
        from usae_train.runtime.signals import said_once
        from usae_train.runtime.workers import one_thread

        with wrong_usage():
            check_run_in(dtype)
        check_file(out / "report.json")
        check_file(out / "index.html")
        if (out / "index.html").exists() and not (out / "report.json").exists():
            raise UsageError(f"{out / 'index.html'} is a page of something else; choose another --out")
        where = pick_device(device)
        if where == "cpu":  # a GPU's own work is beside it
            one_thread()
        model, ranks = load(usae, where), named_by_torchrun()
        run_backbones_in(model.backbones.values(), dtype)
        source = open_pictures(images, limit, ranks.is_main)
        room = out.with_name(f".{out.name}.evaluation")
        keeper = PassKeeper(room, ranks.rank, checkpoint_minutes)
        compared = Compared(
            independent={name: own.to(where) for name, own in load_independent(independent, model).items()}
            if independent
            else None,
            other_seeds=[load(other) for other in other_seed or ()],
            keeper=keeper,
            ranks=ranks,
            seed=seed,
            workers=workers,
            answers=answers,
            judge=None if judge is None else open_judge(judge, model),
            label_column=label_column,
        )
        unseen = quiet or not ranks.is_main
        with said_once(ranks.is_main), progress_bars(unseen) as progress, keeper.listening():
            report = watched(progress, unseen)
            made = measure(model, source, batch, lambda stage, done, total: report(stage, done, total, ""), compared)
        if made is None:  # the first process writes
            return
        figures, statistics = made
        write_report(figures, out)
        filled = fills(model, statistics) if fill is None else fill
        if filled:
            fill_statistics(model, statistics, source, figures.get("truth", {}).get("factors", ()))
        shutil.rmtree(room, ignore_errors=True)
        if as_json:
            say_json(json.loads((out / "report.json").read_text(encoding="utf-8")))
        elif not quiet:
            say(f"{out}: {headline(figures)}{'; statistics filled in' if filled else ''}")
            say(*ceiling_lines(figures))
            if (table := answers_table(figures)) is not None:
                say_table(table)
            say(*refused_lines(figures), *stands_for_lines(figures))
        if not quiet:
            say(*(f"warning: {line}" for line in figures["warnings"]), err=True)


def spectrum(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")],
    size: Annotated[int, typer.Option(min=16, max=2048, help="Side in pixels that pictures are read at.")] = 96,
    limit: Limit = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure the mean Fourier magnitude of pictures, for MACO."""
    with one_line_errors():
        from usae_train.files.atomic import check_file
        from usae_train.images.failures import BrokenPictures
        from usae_train.images.spectrum import mean_magnitude, save_spectrum

        check_file(out)
        source = open_pictures(images, limit)
        broken = BrokenPictures(len(source), say=say_skipped)
        with progress_bars(quiet) as progress:
            report = watched(progress, quiet)
            magnitude = mean_magnitude(
                source,
                size,
                lambda done, total: report("pictures", done, total, ""),
                pick_device(device),
                broken.add_one,
            )
        save_spectrum(magnitude, out, source, len(broken.known))
        if not quiet:
            say(f"{out}: the spectrum of {plural(len(source) - len(broken.known), 'picture')}")
