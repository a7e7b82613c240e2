"""`usae-train evaluate` and `spectrum`: the commands that measure, and make nothing new."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.commands.opening import open_pictures
from usae_train.commands.options import SOURCES, Images, Usae
from usae_train.evaluation.settings import EvaluateSettings
from usae_train.images.settings import SpectrumSettings
from usae_train.runtime.printing import plural, say, say_json, say_table
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Device, Quiet, WorkerCount
from usae_train.runtime.terminal import is_alone, one_line_errors, pick_device, progress_report, say_skipped

if TYPE_CHECKING:
    from usae_train.evaluation.report_form import Report
    from usae_train.runtime.progress import ProgressCallback, StageCallback


@takes_settings(EvaluateSettings)
def evaluate(
    usae: Usae,
    images: Annotated[str, typer.Argument(help=f"Pictures it was not trained on: {SOURCES}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.json and index.html.")],
    settings: EvaluateSettings,
    device: Device = "auto",
    workers: WorkerCount = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what report.json holds, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Measure a USAE on pictures, and write a report: what is shared, what is dead, what follows the truth.

    The same command resumes what Ctrl-C, a kill or a crash stopped. On the CPU it uses all cores; under
    torchrun the processes share the pictures.
    """
    with one_line_errors():
        _check_early(usae, images, out, settings)
        from usae_train.backbones.backbone import set_compute_dtype
        from usae_train.evaluation.checkpointing import PassCheckpointer
        from usae_train.evaluation.evaluate import Comparison, evaluate_source
        from usae_train.files.placing import place_of
        from usae_train.model.checkpoint import fill_statistics, fills_statistics, load
        from usae_train.runtime.distributed import torchrun_context
        from usae_train.runtime.signals import report_stop_on_main
        from usae_train.runtime.workers import one_thread

        where = pick_device(device)
        if where == "cpu":  # a GPU's own work is beside it
            one_thread()
        model, ranks = load(usae, where), torchrun_context()
        set_compute_dtype(model.backbones.values(), settings.dtype)
        source = open_pictures(images, settings.limit, ranks.is_main)
        place = place_of(out)
        states = place.with_name(f".{place.name}.evaluation")
        checkpointer = PassCheckpointer(states, ranks.rank, settings.checkpoint_minutes)
        compared = Comparison.from_settings(settings, model, checkpointer=checkpointer, ranks=ranks, workers=workers)
        unseen = quiet or not ranks.is_main
        with report_stop_on_main(ranks.is_main), progress_report(unseen) as report, checkpointer.stop_on_signals():
            evaluated = evaluate_source(model, source, settings.image_batch, _beside_workers(report), compared)
        if evaluated is None:  # the first process writes
            return
        from usae_train.evaluation.report import write_report

        figures, statistics = evaluated
        write_report(figures, out)
        filled = fills_statistics(model, statistics) if settings.fill is None else settings.fill
        if filled:
            factors = figures["truth"]["factors"] if "truth" in figures else ()
            fill_statistics(model, statistics, source, factors)
        shutil.rmtree(states, ignore_errors=True)
        if as_json:
            say_json(json.loads((out / "report.json").read_text(encoding="utf-8")))
        elif not quiet:
            _summarize(figures, out, filled)
        if not quiet:
            say(*(f"warning: {line}" for line in figures["warnings"]), err=True)


def _beside_workers(report: ProgressCallback) -> StageCallback:
    """The report; when it is first called, what draws the plots is loaded, while workers look at pictures."""

    def report_stage(stage: str, done: int, total: int) -> None:
        import_module("usae_train.evaluation.report")
        report(stage, done, total, "")

    return report_stage


def _check_early(usae: str, images: str, out: Path, settings: EvaluateSettings) -> None:
    """Whether all that is named is there, and a report can be written, before torch is loaded."""
    from usae_train.commands.early_checks import check_usaes
    from usae_train.evaluation.places import check_report_place, check_saes_place
    from usae_train.images.places import check_images
    from usae_train.model.outline import outline_here

    check_report_place(out)
    if is_alone():
        check_usaes([usae, *settings.other_seed])
        if settings.independent_saes is not None and (outline := outline_here(usae)) is not None:
            check_saes_place(settings.independent_saes, outline.names)
        check_images(images, settings.limit)


def _summarize(figures: Report, out: Path, filled: bool) -> None:
    from usae_train.evaluation.summary import answers_table, class_lines, judge_lines, refused_lines
    from usae_train.evaluation.verdict import ceiling_lines, headline

    say(f"{out}: {headline(figures)}{'; statistics filled in' if filled else ''}")
    say(*ceiling_lines(figures))
    if (table := answers_table(figures)) is not None:
        say_table(table)
    say(*refused_lines(figures), *judge_lines(figures), *class_lines(figures))


@takes_settings(SpectrumSettings)
def spectrum(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")],
    settings: SpectrumSettings,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure the mean Fourier magnitude of pictures, for MACO."""
    with one_line_errors():
        from usae_train.files.atomic import check_file
        from usae_train.images.places import check_images

        check_file(out)
        check_images(images, settings.limit)
        from usae_train.images.failures import BrokenPictures
        from usae_train.images.spectrum import mean_magnitude, save_spectrum

        source = open_pictures(images, settings.limit)
        broken = BrokenPictures(len(source), say=say_skipped)
        with progress_report(quiet) as report:
            magnitude = mean_magnitude(
                source,
                settings.size,
                stage_counter(report, "pictures"),
                pick_device(device),
                broken.add_one,
                settings.readers,
            )
        save_spectrum(magnitude, out, source, len(broken.failures))
        if not quiet:
            say(f"{out}: the spectrum of {plural(len(source) - len(broken.failures), 'picture')}")
