"""`usae-train`: the command line. Everything heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.command_app import command_app
from usae_train.commands import consensus_commands, measure_commands, name_command, sae_commands, training_commands
from usae_train.commands.options import Images, Out
from usae_train.demo.settings import BuildSettings
from usae_train.runtime.printing import plural, say
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.settings_options import knows_former, refuse_beside, takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import (
    is_alone,
    one_line_errors,
    pick_device,
    progress_report,
    say_left_out,
    say_skipped,
)
from usae_train.tokens.settings import ExtractSettings

if TYPE_CHECKING:
    from usae_train.images.sources import ImageSource
    from usae_train.tokens.extract import ExtractionPlan
    from usae_train.tokens.store import ActivationStore

app = command_app(
    "usae-train", "Make universal sparse autoencoders: one sparse concept space for several vision backbones."
)


@app.command()
@knows_former({"verify": "verify_checksums"})
@takes_settings(ExtractSettings)
def extract(
    context: typer.Context,
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to write; one that was stopped is resumed.")],
    settings: ExtractSettings,
    verify_checksums: Annotated[
        bool, typer.Option("--verify-checksums", help="Compare a finished store's checksums, and do nothing else.")
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write an activation store: every picture through every backbone, once, in shards with checksums.

    A store that was stopped is resumed when the same command is run again: SIGTERM and Ctrl-C lose nothing, a
    kill at most the last minute. Without a terminal, a line every half minute reports progress.
    """
    with one_line_errors(quiet):
        if verify_checksums:
            refuse_beside(context, "--verify-checksums", {"images", "out", "verify_checksums", "quiet"})
            _verify_checksums(out, quiet)
            return
        _check_early(images, out, settings)
        from usae_train.files.locks import folder_lock
        from usae_train.runtime.distributed import ranks_of_torchrun
        from usae_train.runtime.signals import report_stop_on_main
        from usae_train.tokens.extract import extract as write_store

        where = pick_device(device)
        with ranks_of_torchrun(where) as ranks, contextlib.ExitStack() as holding:
            with ranks.raise_together():
                if ranks.is_main:
                    holding.enter_context(folder_lock(out))
                source, (record, gigabytes, built) = _plan(images, out, settings, ranks.is_main, quiet)
            quiet = quiet or not ranks.is_main
            if not quiet:
                drawn = f" drawn from {record.drawn_from}" if record.drawn_from != len(source) else ""
                say(f"{out}: {plural(len(source), 'picture')}{drawn} will take {gigabytes:.3g} GB")
            with report_stop_on_main(ranks.is_main), progress_report(quiet) as report:
                store = write_store(
                    source,
                    record,
                    out,
                    settings,
                    device=where,
                    ranks=ranks,
                    backbones=built,
                    progress=stage_counter(report, "pictures"),
                    warn=lambda why: say(f"warning: {why}", err=True),
                )
            if not quiet:
                _summarize(store, out)


def _check_early(images: str, out: Path, settings: ExtractSettings) -> None:
    """Whether all that is named is there, and a store can be written, before torch is loaded."""
    from usae_train.files.locks import folder_lock
    from usae_train.images.places import check_images
    from usae_train.model.spec_files import read_specs
    from usae_train.tokens.places import check_store_place

    if is_alone():
        with folder_lock(out):
            check_store_place(out)
        check_images(images, settings.limit)
        read_specs(settings.backbones)


def _verify_checksums(out: Path, quiet: bool) -> None:
    from usae_train.tokens.store import ActivationStore

    right = list(ActivationStore(out).compare_checksums())
    if not quiet:
        say(f"{out}: {plural(len(right), 'shard')}, all checksums right")


def _plan(
    images: str, out: Path, settings: ExtractSettings, is_main: bool, quiet: bool
) -> tuple[ImageSource, ExtractionPlan]:
    """The pictures, and what will be written of them; the first process says what is left out, and what is taken."""
    from usae_train.commands.opening import say_default_backbones
    from usae_train.model.spec_files import read_specs
    from usae_train.tokens.extract import plan_extraction
    from usae_train.tokens.extraction_notes import source_for

    source = source_for(images, settings.limit, out)
    if is_main:
        say_left_out(source.left_out)
    if is_main and not quiet and "backbones" not in settings.model_fields_set:
        say_default_backbones(None)
    return source, plan_extraction(source, read_specs(settings.backbones), settings.storage_dtype)


def _summarize(store: ActivationStore, out: Path) -> None:
    from usae_train.tokens.extract import outliers_of
    from usae_train.tokens.standardization import outliers_as_text

    left_out = f", {len(store.failures())} could not be read" if store.failures() else ""
    say(f"{out}: {plural(len(store), 'picture')} in {plural(len(store.record.shards), 'shard')}{left_out}")
    say(outliers_as_text(outliers_of(store)))


app.command()(training_commands.fit)
app.command("add-backbone")(training_commands.add_backbone)
app.command()(consensus_commands.consensus)


@app.command("import-published")
def import_published(
    config: Annotated[Path, typer.Argument(help="The YAML of the authors' release, beside its checkpoints.")],
    out: Out,
    quiet: Quiet = False,
) -> None:
    """Convert the authors' release (a YAML and a .pth file per backbone) to a USAE folder."""
    with one_line_errors(quiet):
        from usae_train.files.atomic import check_free
        from usae_train.files.yaml_config import read_mapping

        check_free(out)
        read_mapping(config)
        from usae_train.model.checkpoint import save
        from usae_train.model.published import import_published as convert

        usae = convert(config)
        save(usae, out)
        if not quiet:
            say(f"{out}: {plural(usae.n_concepts, 'concept')} over {', '.join(usae.names)}")
            say("no record of the backbones' weights is kept: the release does not say which they were")


@app.command()
@takes_settings(BuildSettings)
def demo(
    out: Out,
    settings: BuildSettings,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Worker processes, each for some of the backbones; by default one per core, and one on a GPU."
        ),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Rebuild the demo universe: its backbones, its USAE, its statistics (about two and a quarter hours on 2 cores).

    The same command resumes a build that was stopped.
    """
    with one_line_errors(quiet):
        from usae_train.demo.build import build

        with progress_report(quiet) as report:
            build(out, settings.seed, pick_device(device), report, workers)
        if not quiet:
            say(f"{out}: the demo universe")


@app.command()
@takes_settings(BuildSettings)
def photos(
    out: Out,
    settings: BuildSettings,
    train: Annotated[str, typer.Argument(help="Photographs to train on, a folder.")] = "photos/train",
    held_out: Annotated[str, typer.Argument(help="Held-out photographs to measure it on, a folder.")] = "photos/held",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Rebuild `photos`, the USAE over two real networks: its statistics, its card (about five minutes on one core).

    The networks' weights are the packages of the extra `photos`. The concepts' names belong to the published weights,
    and are not rebuilt.
    """
    with one_line_errors(quiet):
        from usae_train.photos.build import SETTINGS, build

        chosen = SETTINGS.model_copy(update={"seed": settings.seed})
        with progress_report(quiet) as report:
            build_report = build(train, held_out, out, chosen, pick_device(device), report, say_skipped)
        if not quiet:
            say(f"{out}: {plural(chosen.n_concepts, 'concept')} over {', '.join(build_report.live)}")
            say(*build_report.in_words())


app.command()(measure_commands.evaluate)
app.command()(measure_commands.spectrum)
app.command()(name_command.name)
app.command("import-sae")(sae_commands.import_sae)
app.command("export-sae")(sae_commands.export_sae)


def main() -> None:
    """Entry point."""
    app()
