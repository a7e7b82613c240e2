"""`usae-train fit` and `add-backbone`: the commands that train a concept space, and teach it a backbone more."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from usae_train.command_app import wrong_usage
from usae_train.commands.opening import open_pictures
from usae_train.commands.options import (
    SOURCES,
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
from usae_train.printing import plural, say, say_json
from usae_train.terminal import bars, one_line_errors, pick_device, progress_bars, watched


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(fit)
    app.command("add-backbone")(add_backbone)


def fit(
    images: Annotated[str, typer.Argument(help=f"An activation store, or pictures: {SOURCES}.")],
    out: Out,
    backbones: Annotated[
        str | None,
        typer.Option(
            help="`paper`, `demo`, `photos`, a YAML of specs, or timm ids with commas; a store has its own. [paper]"
        ),
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
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare a store's checksums first, which reads all of it once more."),
    ] = False,
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
    metrics.jsonl lies in it. SIGTERM and Ctrl-C write a state and stop; a second Ctrl-C stops at once. Off a terminal
    a line about every half minute says how far it is.
    """
    with one_line_errors(quiet):
        from usae_train.training.fitting import allowed_memory, fit_settings

        sizes: dict[str, Any] = {
            "n_concepts": n_concepts, "k": k, "steps": steps, "batch": batch, "seed": seed,
            "start_seed": start_seed, "dtype": dtype, "mask_outliers": mask_outliers, "max_broken": max_broken,
        }  # fmt: skip
        with wrong_usage():
            settings = fit_settings(recipe, **sizes)
            allowed_memory(memory)
        if independent:
            from usae_train.training.display import dead_shares
            from usae_train.training.independent_fit import Work, fit_independent

            if tensorboard is not None or wandb is not None:
                raise typer.BadParameter("--independent is many trainings; each has its metrics.jsonl, and no tracker")
            with progress_bars(quiet) as progress:
                report = watched(progress, quiet)
                work = Work(pick_device(device), memory, every, keep, log_every, report, say_skipped)
                dead = fit_independent(images, out, backbones, recipe, sizes, limit, work, verify)
            if not quiet:
                say(f"{out}: an SAE of {plural(n_concepts, 'concept')} for each backbone; dead: {dead_shares(dead)}")
            return

        import shutil

        from usae_train.backbones.carried import check_weights
        from usae_train.commands.config_files import read_specs
        from usae_train.distributed import ranks_of_torchrun
        from usae_train.files.holding import held
        from usae_train.model.checkpoint import check_free, save
        from usae_train.stop_signals import said_once
        from usae_train.tokens.standardization import outliers_as_text
        from usae_train.tokens.verifying import verify as compare_checksums
        from usae_train.training.display import TrainingDisplay, dead_shares, summary
        from usae_train.training.figures import dead_of
        from usae_train.training.fitting import Watch, fit_pictures, fit_store, store_to_fit
        from usae_train.training.journal import METRICS, Journal
        from usae_train.training.keeping import Keeper, training_room
        from usae_train.training.trackers import open_trackers
        from usae_train.training.watching import journaled

        where = pick_device(device)
        with ranks_of_torchrun(where) as ranks, contextlib.ExitStack() as holding:
            unseen = quiet or not ranks.first
            with ranks.together():
                if ranks.first:
                    holding.enter_context(held(out))
                    check_free(out)
                room = training_room(out, resume or not ranks.first)
                ranks.part(settings.batch)
                store = store_to_fit(images, backbones, limit, dtype, verify)
                if store is not None and ranks.first:
                    check_weights(store.specs)
                specs = read_specs(backbones or "paper") if store is None else {}
                source = open_pictures(images, limit, ranks.first) if store is None else None
            if verify and store is not None:
                with progress_bars(unseen) as progress:
                    compare_checksums(store, watched(progress, unseen), ranks)
            with ranks.together():
                trackers = []
                if ranks.first:
                    trackers = open_trackers(tensorboard, wandb, out.name, settings.model_dump(mode="json"), room)
            if store is not None and ranks.first and store.changed_pictures():
                say(
                    f"warning: {store.record.source} has changed since {images} was extracted; its tokens are whole, "
                    "but the USAE's top images may not be found there", err=True,
                )  # fmt: skip
            keeper = Keeper(room, every, keep)
            with (
                said_once(ranks.first), Journal(room / METRICS, trackers) as journal, keeper.listening(),
                bars(TrainingDisplay, unseen) as progress,
            ):  # fmt: skip

                def beneath_the_bars(figures: Mapping[str, Any]) -> str:
                    progress.figures = figures
                    return summary(figures) if progress.disable else ""

                watch = Watch(log_every=log_every)
                if ranks.first:
                    watch = journaled(
                        journal, watched(progress, unseen), settings.steps, note=beneath_the_bars, failure=say_skipped,
                        log_every=log_every,
                    )  # fmt: skip
                if store is not None:
                    usae = fit_store(store, settings, where, watch, keeper, memory, ranks)
                else:
                    assert source is not None
                    usae = fit_pictures(source, settings, specs, where, watch, keeper, memory, ranks)
            if ranks.first:
                with keeper.told_of():
                    save(usae, out, beside=[room / METRICS])
                shutil.rmtree(room, ignore_errors=True)
                if not quiet:
                    unused = dead_shares(dead_of(usae))
                    say(f"{out}: {plural(usae.n_concepts, 'concept')} over {', '.join(usae.names)}; dead: {unused}")
                    say(outliers_as_text(usae.outliers))


def add_backbone(
    usae: Annotated[str, typer.Argument(help="The concept space: `demo`, `photos`, a USAE folder or a hub id.")],
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
    with one_line_errors(quiet), contextlib.ExitStack() as holding:
        import shutil

        from usae_train.commands.config_files import read_specs
        from usae_train.files.holding import held
        from usae_train.model.checkpoint import check_free, load, save
        from usae_train.training.fitting import allowed_memory, fit_settings
        from usae_train.training.growing import add_backbone as grow
        from usae_train.training.growing import figures_as_text
        from usae_train.training.journal import JOINT_METRICS, METRICS, Journal
        from usae_train.training.keeping import Keeper, training_room
        from usae_train.training.watching import journaled

        sizes: dict[str, Any] = {
            "steps": steps, "batch": batch, "seed": seed, "start_seed": start_seed, "dtype": dtype,
            "mask_outliers": mask_outliers, "max_broken": max_broken,
        }  # fmt: skip
        with wrong_usage():
            fit_settings(recipe, **sizes)
            allowed_memory(memory)
        holding.enter_context(held(out))
        check_free(out)
        room = training_room(out, resume)
        keeper = Keeper(room, every, keep)
        specs = read_specs(backbone)
        if len(specs) != 1:
            raise ValueError(
                f"--backbone names {plural(len(specs), 'backbone')}: {', '.join(specs)}; add one at a time"
            )
        ((own_name, spec),) = specs.items()
        files = [room / METRICS, *([room / JOINT_METRICS] if joint else [])]
        with contextlib.ExitStack() as beside:
            progress = beside.enter_context(progress_bars(quiet))
            beside.enter_context(keeper.listening())
            journals = [beside.enter_context(Journal(file)) for file in files]
            report = watched(progress, quiet)
            watches = [
                journaled(journal, report, steps, stage, failure=say_skipped, log_every=log_every)
                for stage, journal in zip(("training", "joint training"), journals, strict=False)
            ]
            grown = grow(
                load(usae), open_pictures(images, limit), spec, name=name or own_name, recipe=recipe, joint=joint,
                memory=memory, device=pick_device(device), watch=watches[0], joint_watch=watches[-1],
                keeper=keeper, **sizes,
            )  # fmt: skip
        with keeper.told_of():
            save(grown.usae, out, beside=[file for file in files if file.is_file()])
        shutil.rmtree(room, ignore_errors=True)
        if as_json:
            say_json(grown.figures())
        elif not quiet:
            say(f"{out}: {plural(grown.usae.n_concepts, 'concept')} over {', '.join(grown.usae.names)}")
            say(*figures_as_text(grown))


def say_skipped(why: str) -> None:
    """Name a picture that cannot be read."""
    say(f"skipped: {why}", err=True)
