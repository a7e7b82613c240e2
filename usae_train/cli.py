"""`usae-train`: the command line. Everything heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from usae_train import measure_commands
from usae_train.options import (
    SOURCES,
    Backbones,
    Device,
    Dtype,
    Every,
    Images,
    Keep,
    Limit,
    LogEvery,
    MaskOutliers,
    MaxBroken,
    Out,
    Quiet,
    Resume,
    Seed,
    StartSeed,
)
from usae_train.terminal import bars, one_line_errors, pick_device, progress_bars, stages

app = typer.Typer(
    name="usae-train", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Make universal sparse autoencoders: one sparse concept space for several vision backbones.",
)  # fmt: skip


@app.callback()
def _main() -> None:
    """Keeps the commands as subcommands."""


@app.command()
def extract(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="The store; one that was stopped is gone on with.")],
    backbones: Backbones = "paper",
    dtype: Annotated[
        str, typer.Option(help="What tokens are kept in: `bfloat16`, `float16` or `float32`.")
    ] = "bfloat16",
    run_in: Annotated[
        str, typer.Option(help="What the backbones run in: `float32`, `bfloat16`; auto: bfloat16 on a GPU.")
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 32,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures; 0 reads in this one.")] = 0,
    max_broken: MaxBroken = 0.01,
    limit: Limit = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare the checksums of a finished store.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write an activation store: every picture through every backbone, once, in shards with checksums.

    A store that was stopped is gone on with when the same command is given again.
    """
    with one_line_errors():
        from usae_train.backbones import DTYPES
        from usae_train.config_files import read_specs
        from usae_train.distributed import ranks_of_torchrun
        from usae_train.extract import extract as write_store
        from usae_train.extract import first_outliers, plan
        from usae_train.images import open_images
        from usae_train.standardization import outliers_as_text
        from usae_train.store import ActivationStore

        if verify:
            right = list(ActivationStore(out).verify())
            typer.echo(f"{out}: {len(right)} shards, all checksums right")
            return
        if dtype not in ("bfloat16", "float16", "float32"):
            raise typer.BadParameter(f"--dtype is {dtype!r}; expected bfloat16, float16 or float32")
        if run_in not in DTYPES:
            raise typer.BadParameter(f"--run-in is {run_in!r}; expected auto, float32 or bfloat16")
        where = pick_device(device)
        with ranks_of_torchrun(where) as ranks:
            with ranks.together():
                source = open_images(images, limit)
                record, gigabytes, built = plan(source, read_specs(backbones), dtype)
            quiet = quiet or not ranks.first
            if not quiet:
                typer.echo(f"{out}: {len(source)} pictures will take {gigabytes:.3g} GB")
            with progress_bars(quiet) as progress:
                report = stages(progress)
                store = write_store(
                    source, record, out, batch=batch, device=where, run_in=run_in,
                    workers=workers, max_broken=max_broken, ranks=ranks, backbones=built,
                    progress=lambda done, total: report("pictures", done, total, ""),
                )  # fmt: skip
            if not quiet:
                left_out = f", {len(store.failures())} could not be read" if store.failures() else ""
                typer.echo(f"{out}: {len(store)} pictures in {len(store.record.shards)} shards{left_out}")
                typer.echo(outliers_as_text(first_outliers(store)))


@app.command()
def fit(
    images: Annotated[str, typer.Argument(help=f"An activation store, or pictures: {SOURCES}.")],
    out: Out,
    backbones: Annotated[
        str | None,
        typer.Option(help="`paper`, `demo`, a YAML of specs, or timm ids with commas; a store has its own. [paper]"),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="`default`; `published`: as the authors' code does it; `frozen`, `shuffled`: controls, to read "
            "figures against chance (random dictionaries; tokens of different images paired)."
        ),
    ] = "default",
    n_concepts: Annotated[int, typer.Option("--n-concepts", help="Size of the concept space.")] = 6144,
    k: Annotated[int, typer.Option("--k", "-k", help="Concepts kept a token.")] = 32,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 10_000,
    batch: Annotated[
        int | None, typer.Option(help="Tokens a step; the recipe's own (4096, published 6272) unless told.")
    ] = None,
    limit: Limit = None,
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="Not one USAE but an SAE a backbone, each in a folder of --out; the same command goes on.",
        ),
    ] = False,
    memory: Annotated[
        float | None,
        typer.Option(
            help="GB of tokens in memory at a time; what does not fit is read or streamed in random windows. "
            "[a third of the machine's]"
        ),
    ] = None,
    mask_outliers: MaskOutliers = False,
    max_broken: MaxBroken = 0.01,
    resume: Resume = False,
    every: Every = 10.0,
    keep: Keep = 2,
    log_every: LogEvery = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's event files too; none unless told.")
    ] = None,
    wandb: Annotated[
        str | None, typer.Option(help="Project at Weights & Biases to log to as well; none unless told.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    start_seed: StartSeed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a USAE on pictures seen by several backbones, and write it with its statistics.

    Training states and metrics.jsonl lie in .NAME.training beside the folder NAME until it is finished; then
    metrics.jsonl lies in it. SIGTERM and Ctrl-C write a state and stop; a second Ctrl-C stops at once.
    """
    with one_line_errors():
        if independent:
            from usae_train.independent_fit import Work, fit_independent
            from usae_train.stop_signals import Stopped

            if tensorboard is not None or wandb is not None:
                raise typer.BadParameter("--independent is many trainings; each has its metrics.jsonl, and no tracker")
            sizes = {
                "n_concepts": n_concepts, "k": k, "steps": steps, "batch": batch, "seed": seed,
                "start_seed": start_seed, "dtype": dtype, "mask_outliers": mask_outliers, "max_broken": max_broken,
            }  # fmt: skip
            with progress_bars(quiet) as progress:
                work = Work(
                    pick_device(device), memory, every, keep, log_every, stages(progress),
                    lambda why: typer.echo(f"skipped: {why}", err=True),
                )  # fmt: skip
                try:
                    fit_independent(images, out, backbones, recipe, sizes, limit, work)
                except Stopped as stopped:
                    typer.echo(str(stopped), err=True)
                    raise SystemExit(stopped.status) from None
            if not quiet:
                typer.echo(f"{out}: an SAE of {n_concepts} concepts for each backbone")
            return

        import shutil

        from usae_train.checkpoint import check_free, save
        from usae_train.config_files import read_specs
        from usae_train.display import TrainingDisplay
        from usae_train.distributed import ranks_of_torchrun
        from usae_train.fitting import Watch, fit_pictures, fit_settings, fit_store
        from usae_train.images import open_images
        from usae_train.journal import METRICS, Journal
        from usae_train.keeping import Keeper, training_room
        from usae_train.standardization import outliers_as_text
        from usae_train.stop_signals import Stopped
        from usae_train.store import ActivationStore, is_store
        from usae_train.trackers import open_trackers

        settings = fit_settings(
            recipe, n_concepts=n_concepts, k=k, steps=steps, batch=batch, seed=seed, start_seed=start_seed,
            dtype=dtype, mask_outliers=mask_outliers, max_broken=max_broken,
        )  # fmt: skip
        where = pick_device(device)
        with ranks_of_torchrun(where) as ranks:
            with ranks.together():
                if ranks.first:
                    check_free(out)
                room = training_room(out, resume or not ranks.first)
                ranks.part(settings.batch)
                store = ActivationStore(images) if is_store(images) else None
                if store is not None and (backbones is not None or limit is not None or dtype != "auto"):
                    raise ValueError(f"{images} is a store, with backbones and pictures of its own")
                specs = read_specs(backbones or "paper") if store is None else {}
                source = open_images(images, limit) if store is None else None
                trackers = []
                if ranks.first:
                    trackers = open_trackers(tensorboard, wandb, out.name, settings.model_dump(mode="json"), room)
            if store is not None and ranks.first and store.changed_pictures():
                typer.echo(
                    f"warning: {store.record.source} has changed since {images} was extracted; its tokens are whole, "
                    "but the USAE's top images may not be found there", err=True,
                )  # fmt: skip
            keeper = Keeper(room, every, keep)
            with (
                Journal(room / METRICS, trackers) as journal, keeper.listening(),
                bars(TrainingDisplay, quiet or not ranks.first) as progress,
            ):  # fmt: skip
                report = stages(progress)

                def steps_done(step: int, figures: dict[str, Any]) -> None:
                    if ranks.first:
                        journal.log(step, figures)
                        progress.figures = figures
                        report("training", step, settings.steps, "")

                watch = Watch(
                    pictures=lambda done, total: report("pictures", done, total, ""), steps=steps_done,
                    failure=lambda why: typer.echo(f"skipped: {why}", err=True), log_every=log_every,
                )  # fmt: skip
                try:
                    if store is not None:
                        usae = fit_store(store, settings, where, watch, keeper, memory, ranks)
                    else:
                        assert source is not None
                        usae = fit_pictures(source, settings, specs, where, watch, keeper, memory, ranks)
                except Stopped as stopped:
                    if ranks.first:
                        typer.echo(str(stopped), err=True)
                    raise SystemExit(stopped.status) from None
            if ranks.first:
                save(usae, out, beside=[room / METRICS])
                shutil.rmtree(room, ignore_errors=True)
                if not quiet:
                    typer.echo(f"{out}: {usae.n_concepts} concepts over {', '.join(usae.names)}")
                    typer.echo(outliers_as_text(usae.outliers))


@app.command("add-backbone")
def add_backbone(
    usae: Annotated[str, typer.Argument(help="The concept space: `demo`, a USAE folder or a hub id.")],
    images: Images,
    backbone: Annotated[str, typer.Option(help="The new one: a timm id, or a YAML of one spec with a name.")],
    out: Out,
    name: Annotated[str | None, typer.Option(help="What to call it. [the YAML's name, or the id without tag]")] = None,
    recipe: Annotated[str, typer.Option(help="`default`, or `published`: as the authors' code does it.")] = "default",
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 10_000,
    batch: Annotated[int | None, typer.Option(help="Tokens a step. [the recipe's: 4096, published 6272]")] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="Also train all together from scratch, to compare R² with: takes longer.")
    ] = False,
    limit: Limit = None,
    memory: Annotated[
        float | None, typer.Option(help="GB of tokens in memory at a time. [a third of the machine's]")
    ] = None,
    mask_outliers: MaskOutliers = False,
    max_broken: MaxBroken = 0.01,
    resume: Resume = False,
    every: Every = 10.0,
    keep: Keep = 2,
    log_every: LogEvery = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    start_seed: StartSeed = 0,
    quiet: Quiet = False,
) -> None:
    """Teach a new backbone to share a finished concept space; the known backbones stay as they are, to the bit.

    R² is measured on a tenth of the pictures (500 at most), which is kept from training. Training states lie in
    .NAME.training beside the folder NAME until it is finished, and so does metrics.jsonl (of joint training
    metrics-joint.jsonl), which then lies in it; SIGTERM and Ctrl-C write a state and stop.
    """
    with one_line_errors():
        import shutil

        from usae_train.checkpoint import check_free, load, save
        from usae_train.config_files import read_specs
        from usae_train.fitting import Watch
        from usae_train.growing import add_backbone as grow
        from usae_train.growing import figures_as_text
        from usae_train.journal import JOINT_METRICS, METRICS, Journal
        from usae_train.keeping import Keeper, training_room
        from usae_train.stop_signals import Stopped

        check_free(out)
        room = training_room(out, resume)
        keeper = Keeper(room, every, keep)
        specs = read_specs(backbone)
        if len(specs) != 1:
            raise ValueError(f"--backbone names {len(specs)} backbones: {', '.join(specs)}; add one at a time")
        ((own_name, spec),) = specs.items()
        files = [room / METRICS, *([room / JOINT_METRICS] if joint else [])]
        with contextlib.ExitStack() as opened:
            progress = opened.enter_context(progress_bars(quiet))
            opened.enter_context(keeper.listening())
            journals = [opened.enter_context(Journal(file)) for file in files]
            report = stages(progress)

            def watch_of(stage: str, journal: Journal) -> Watch:
                def steps_done(step: int, figures: dict[str, Any]) -> None:
                    journal.log(step, figures)
                    report(stage, step, steps, f"loss {figures['loss']:.4f}")

                return Watch(
                    pictures=lambda done, total: report("pictures", done, total, ""), steps=steps_done,
                    failure=lambda why: typer.echo(f"skipped: {why}", err=True), log_every=log_every,
                )  # fmt: skip

            watches = [watch_of(*each) for each in zip(("training", "joint training"), journals, strict=False)]
            try:
                grown = grow(
                    load(usae), images, spec, name=name or own_name, recipe=recipe, joint=joint, limit=limit,
                    memory=memory, device=pick_device(device), watch=watches[0], joint_watch=watches[-1],
                    keeper=keeper, steps=steps, batch=batch, seed=seed, start_seed=start_seed, dtype=dtype,
                    mask_outliers=mask_outliers, max_broken=max_broken,
                )  # fmt: skip
            except Stopped as stopped:
                typer.echo(str(stopped), err=True)
                raise SystemExit(stopped.status) from None
        save(grown.usae, out, beside=[file for file in files if file.is_file()])
        shutil.rmtree(room, ignore_errors=True)
        if as_json:
            typer.echo(json.dumps(grown.figures(), indent=1))
        elif not quiet:
            typer.echo(f"{out}: {grown.usae.n_concepts} concepts over {', '.join(grown.usae.names)}")
            typer.echo(figures_as_text(grown))


@app.command("import-published")
def import_published(
    config: Annotated[Path, typer.Argument(help="The YAML of the authors' release, beside its checkpoints.")],
    out: Out,
    quiet: Quiet = False,
) -> None:
    """Convert the authors' release (a YAML and a .pth file a backbone) to a USAE folder."""
    with one_line_errors():
        from usae_train.checkpoint import check_free, save
        from usae_train.published import import_published as convert

        check_free(out)
        usae = convert(config)
        save(usae, out)
        if not quiet:
            typer.echo(f"{out}: {usae.n_concepts} concepts over {', '.join(usae.names)}")


@app.command()
def demo(
    out: Out,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Backbones trained at the same time; one a core unless told, on a GPU one."),
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Rebuild the demo universe: its backbones, its USAE, its statistics (on 2 cores about two and a quarter hours).

    A build that was stopped goes on where it was when the same command is given again.
    """
    with one_line_errors():
        from usae_train.demo.build import build

        with progress_bars(quiet) as progress:
            build(out, seed, pick_device(device), stages(progress), workers)
        if not quiet:
            typer.echo(f"{out}: the demo universe")


measure_commands.register(app)


def main() -> None:
    """Entry point."""
    app()
