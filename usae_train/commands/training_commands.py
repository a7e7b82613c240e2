"""`usae-train fit` and `add-backbone`: the commands that train a concept space, and teach it a backbone more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from usae_train.agreement.settings import AgreementSettings
from usae_train.commands.fit_together import FitRequest, fit_together
from usae_train.commands.opening import open_pictures, say_default_backbones
from usae_train.commands.options import SOURCES, TOKENS, Images, Out, Resume
from usae_train.commands.training_place import training_place
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural, say, say_json
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import (
    one_line_errors,
    pick_device,
    progress_bars,
    say_skipped,
    watched,
    wrong_usage,
)
from usae_train.training.settings import DEFAULT, ExecutionSettings, FitSettings


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(fit)
    app.command("add-backbone")(add_backbone)


RECIPE_DEFAULTS = {"recipe": DEFAULT.name, "batch": None}  # the recipe is named; the batch is its to say


@takes_settings(AgreementSettings)
@takes_settings(ExecutionSettings)
@takes_settings(FitSettings, ranges=False, defaults=RECIPE_DEFAULTS)
def fit(
    images: Annotated[str, typer.Argument(help=f"An activation store, {TOKENS}, or pictures: {SOURCES}.")],
    out: Out,
    execution: ExecutionSettings,
    agreement: AgreementSettings,
    backbones: Annotated[
        str | None,
        typer.Option(
            help="`paper`, `demo`, `photos`, a YAML of specs, or timm ids with commas; paper by default, a store has "
            "its own."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare a store's checksums first, which reads all of it once more."),
    ] = False,
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="Not one USAE but an SAE per backbone, each in a folder of --out; the same command resumes.",
        ),
    ] = False,
    resume: Resume = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's event files too; none by default.")
    ] = None,
    wandb: Annotated[
        str | None, typer.Option(help="Project at Weights & Biases to log to as well; none by default.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Train a USAE on pictures seen by several backbones, and write it with its statistics.

    Training states and metrics.jsonl lie in .NAME.training beside the folder NAME until it is finished; then
    metrics.jsonl lies in it. SIGTERM and Ctrl-C write a state and stop; a second Ctrl-C stops at once. Off a terminal
    a line about every half minute says how far it is.
    """
    with one_line_errors(quiet):
        from usae_train.training.fitting import allowed_memory, fit_settings

        with wrong_usage():
            chosen = fit_settings(**{"recipe": DEFAULT.name, **settings})
            allowed_memory(execution.memory)
        check_pictures_options(images, settings)
        _check_together(independent, agreement, tensorboard is not None or wandb is not None, chosen.private)
        if resume and (independent or agreement.starts > 1):
            many = "--independent" if independent else "--starts"
            raise typer.BadParameter(f"what {many} began is resumed by the same command; leave --resume out")
        if independent:
            _fit_independent(images, out, backbones, chosen, execution, verify, device, quiet)
        elif agreement.starts > 1:
            check_one_process(verify, tensorboard, wandb)
            _fit_from_starts(agreement, images, out, backbones, chosen, execution, device, quiet)
        else:
            fit_together(
                FitRequest(
                    images,
                    out,
                    backbones,
                    chosen,
                    execution,
                    verify,
                    resume,
                    tensorboard,
                    wandb,
                    device,
                    quiet,
                )
            )


def _check_together(independent: bool, agreement: AgreementSettings, tracked: bool, private: int) -> None:
    """Refuse options that are of one kind of training, and another is asked for."""
    if independent and agreement.starts > 1:
        raise typer.BadParameter("--independent and --starts: give one of them")
    if agreement.starts == 1 and agreement.model_fields_set & {"share", "alike"}:
        raise typer.BadParameter("--share and --alike are of several trainings; give --starts as well")
    if private and (independent or agreement.starts > 1):
        why = "an SAE has all concepts for itself" if independent else "a consensus is of concepts that all share"
        raise typer.BadParameter(f"--private is of one training of several backbones; {why}")
    if independent and tracked:
        raise typer.BadParameter("--independent is many trainings; each has its metrics.jsonl, and no tracker")


def _fit_from_starts(
    agreement: AgreementSettings,
    images: str,
    out: Path,
    backbones: str | None,
    settings: FitSettings,
    execution: ExecutionSettings,
    device: str,
    quiet: bool,
) -> None:
    """`fit --starts`: what several trainings agree on."""
    from usae_train.commands.consensus_commands import fit_from_starts
    from usae_train.training.independent_fit import Work

    with progress_bars(quiet) as progress:
        work = Work(pick_device(device), execution, watched(progress, quiet), say_skipped)
        fit_from_starts(agreement, images, out, backbones, settings, work, quiet)


def _fit_independent(
    images: str,
    out: Path,
    backbones: str | None,
    settings: FitSettings,
    execution: ExecutionSettings,
    verify: bool,
    device: str,
    quiet: bool,
) -> None:
    """`fit --independent`: the same settings for each backbone's own space."""
    from usae_train.training.independent_fit import Work, fit_independent
    from usae_train.training.logging.display import dead_shares

    opened = (lambda: None) if quiet else (lambda: say_default_backbones(backbones))
    with progress_bars(quiet) as progress:
        work = Work(pick_device(device), execution, watched(progress, quiet), say_skipped)
        dead = fit_independent(images, out, backbones, settings, work, verify, opened)
    if not quiet:
        dead_in = dead_shares(dead)
        say(f"{out}: an SAE of {plural(settings.n_concepts, 'concept')} for each backbone; dead: {dead_in}")


@takes_settings(ExecutionSettings)
@takes_settings(FitSettings, ranges=False, leave_out=["n_concepts", "k", "private"], defaults=RECIPE_DEFAULTS)
def add_backbone(
    usae: Annotated[str, typer.Argument(help="The concept space: `demo`, `photos`, a USAE folder or a hub id.")],
    images: Images,
    execution: ExecutionSettings,
    backbone: Annotated[str, typer.Option(help="The new one: a timm id, or a YAML of one spec with a name.")],
    out: Out,
    name: Annotated[
        str | None, typer.Option(help="What to call it; the YAML's name, or the id without its tag, by default.")
    ] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="Also train all together from scratch, to compare R² with: takes longer.")
    ] = False,
    resume: Resume = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Teach a new backbone to share a finished concept space; the known backbones stay as they are, to the bit.

    R² is measured on a tenth of the pictures (500 at most), which is kept from training. Training states lie in
    .NAME.training beside the folder NAME until it is finished, and so does metrics.jsonl (of joint training
    metrics-joint.jsonl), which then lies in it; SIGTERM and Ctrl-C write a state and stop.
    """
    with one_line_errors(quiet), contextlib.ExitStack() as holding:
        from usae_train.model.checkpoint import load, save
        from usae_train.model.spec_files import read_specs
        from usae_train.training.add_backbone import add_backbone as grow
        from usae_train.training.add_backbone import figures_as_text
        from usae_train.training.fitting import allowed_memory, fit_settings
        from usae_train.training.logging.callbacks import logging_callbacks
        from usae_train.training.logging.metrics_log import JOINT_METRICS, METRICS, MetricsLogger

        with wrong_usage():
            steps = fit_settings(**{"recipe": DEFAULT.name, **settings}).steps
            allowed_memory(execution.memory)
        room, checkpointer = holding.enter_context(training_place(out, resume, execution))
        specs = read_specs(backbone)
        if len(specs) != 1:
            raise UsageError(
                f"--backbone names {plural(len(specs), 'backbone')}: {', '.join(specs)}; add one at a time"
            )
        ((own_name, spec),) = specs.items()
        files = [room / METRICS, *([room / JOINT_METRICS] if joint else [])]
        with contextlib.ExitStack() as beside:
            progress = beside.enter_context(progress_bars(quiet))
            beside.enter_context(checkpointer.stop_on_signals())
            metrics_loggers = [beside.enter_context(MetricsLogger(file)) for file in files]
            report = watched(progress, quiet)
            watches = [
                logging_callbacks(
                    metrics_logger,
                    report,
                    steps,
                    stage,
                    failure=say_skipped,
                    log_every=execution.log_every,
                )
                for stage, metrics_logger in zip(("training", "joint training"), metrics_loggers, strict=False)
            ]
            grown = grow(
                load(usae),
                open_pictures(images, execution.limit),
                spec,
                name=name or own_name,
                joint=joint,
                memory=execution.memory,
                device=pick_device(device),
                watch=watches[0],
                joint_watch=watches[-1],
                checkpointer=checkpointer,
                **settings,
            )
        with checkpointer.naming_last_state():
            save(grown.usae, out, beside=[file for file in files if file.is_file()])
        holding.close()
        if as_json:
            say_json(grown.figures())
        elif not quiet:
            say(f"{out}: {plural(grown.usae.n_concepts, 'concept')} over {', '.join(grown.usae.names)}")
            say(*figures_as_text(grown))


def check_pictures_options(images: str, typed: Collection[str]) -> None:
    """Nothing; wrong usage where options of how pictures are read are typed with tokens that were read before."""
    from usae_train.tokens.given_tokens import names_tokens
    from usae_train.tokens.store import is_store

    words = [f"--{name.replace('_', '-')}" for name in ("dtype", "max_broken", "limit") if name in typed]
    if words and (is_store(images) or names_tokens(images)):
        raise typer.BadParameter(
            f"{images} is tokens already; {', '.join(words)} would do nothing there; leave them out"
        )


def check_one_process(verify: bool, tensorboard: Path | None, wandb: str | None) -> None:
    """Refuse what `--starts`, which is many trainings, does not take."""
    if verify or tensorboard is not None or wandb is not None:
        raise typer.BadParameter("--starts is many trainings; it takes neither --verify nor --tensorboard nor --wandb")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--starts trains in one process; start it without torchrun")
