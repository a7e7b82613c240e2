"""`usae-train consensus`, and `fit --starts`: one concept space of what several trainings agree on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usae_train.agreement.settings import AgreementSettings
from usae_train.commands.opening import open_pictures, say_default_backbones
from usae_train.commands.options import SOURCES, TOKENS, Out, Resume
from usae_train.commands.training_commands import RECIPE_DEFAULTS, check_pictures_options
from usae_train.commands.training_place import training_place
from usae_train.runtime.printing import plural, say
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import one_line_errors, pick_device, progress_bars, say_skipped, watched, wrong_usage
from usae_train.training.settings import DEFAULT, ExecutionSettings, FitSettings

if TYPE_CHECKING:
    from usae_train.model.usae import USAE
    from usae_train.training.independent_fit import Work


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(consensus)


@takes_settings(AgreementSettings, leave_out=["starts"])
@takes_settings(ExecutionSettings)
@takes_settings(
    FitSettings,
    ranges=False,
    leave_out=["n_concepts", "k", "private", "init_seed", "sparsity", "dictionary"],
    defaults=RECIPE_DEFAULTS,
)
def consensus(
    usaes: Annotated[list[str], typer.Argument(help="Two or more USAEs that differ in their start: folders or ids.")],
    images: Annotated[
        str, typer.Option(help=f"What encoders are fitted on: an activation store, {TOKENS}, or pictures: {SOURCES}.")
    ],
    out: Out,
    execution: ExecutionSettings,
    agreement: AgreementSettings,
    resume: Resume = False,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Make one USAE of the concepts that several trainings agree on.

    Concepts are matched over all backbones' dictionaries at once; those that come back often enough are kept, their
    rows the mean of the matched ones. In the first half of the steps encoders are fitted to these dictionaries, then
    all of it is trained slowly. In how large a share of the trainings each came back is kept in the folder
    (agreement.safetensors).
    """
    with one_line_errors(quiet), contextlib.ExitStack() as holding:
        from usae_train.agreement.consensus import consensus as agree
        from usae_train.model.checkpoint import load, save
        from usae_train.tokens.given_tokens import names_tokens
        from usae_train.tokens.store import is_store
        from usae_train.training.fitting import allowed_memory, fit_settings
        from usae_train.training.logging.callbacks import logging_callbacks
        from usae_train.training.logging.metrics_log import METRICS, MetricsLogger

        with wrong_usage():
            steps = fit_settings(**{"recipe": DEFAULT.name, **settings}).steps
            allowed_memory(execution.memory)
        check_pictures_options(images, {*settings, *execution.model_fields_set})
        room, checkpointer = holding.enter_context(training_place(out, resume, execution))
        members = [load(each) for each in usaes]
        with (
            progress_bars(quiet) as progress,
            checkpointer.stop_on_signals(),
            MetricsLogger(room / METRICS) as metrics_logger,
        ):
            made = agree(
                members,
                images if is_store(images) or names_tokens(images) else open_pictures(images, execution.limit),
                share=agreement.share,
                alike=agreement.alike,
                memory=execution.memory,
                device=pick_device(device),
                watch=logging_callbacks(
                    metrics_logger, watched(progress, quiet), steps, failure=say_skipped, log_every=execution.log_every
                ),
                checkpointer=checkpointer,
                **settings,
            )
        with checkpointer.naming_last_state():
            save(made, out, beside=[room / METRICS] if (room / METRICS).is_file() else ())
        holding.close()
        if not quiet:
            say(*agreement_in_words(made, members, out))


def fit_from_starts(
    agreement: AgreementSettings,
    images: str,
    out: Path,
    backbones: str | None,
    settings: FitSettings,
    work: Work,
    quiet: bool,
) -> None:
    """`fit --starts`: train from several starts, each into `.NAME.starts`, then write what they agree on.

    The trainings are kept there until the consensus is written; given again, the command goes on where it was.
    """
    import shutil

    from usae_train.agreement.consensus import agreed, encoder_settings, fit_agreed
    from usae_train.agreement.trainings import fit_starts
    from usae_train.files.locks import held
    from usae_train.model.checkpoint import check_free, save
    from usae_train.model.spec_files import read_specs
    from usae_train.tokens.given_tokens import tokens_to_fit
    from usae_train.training.fitting import FitCallbacks, store_to_fit

    limit = work.execution.limit
    room = out.with_name(f".{out.name}.starts")
    with held(out):
        check_free(out)
        data = tokens_to_fit(images, backbones, limit) or store_to_fit(images, backbones, limit, settings.dtype, False)
        specs = {} if data is not None else read_specs(backbones or "paper")
        watch = FitCallbacks(
            pictures=lambda done, total: work.report("pictures", done, total, ""), failure=work.failure
        )
        source = data or open_pictures(images, limit)
        if data is None and not quiet:
            say_default_backbones(backbones)
        members, shown = fit_starts(agreement.starts, source, specs, settings, room, work, watch)
        told = {
            name: getattr(settings, name) for name in ("steps", "batch", "seed", "dtype", "mask_outliers", "max_broken")
        }
        encoding = encoder_settings(members, settings.recipe, **told)
        last = FitCallbacks(
            steps=lambda step, figures: work.report("encoders", step, settings.steps, f"loss {figures['loss']:.4f}")
        )
        found = agreed(members, agreement.share, agreement.alike)
        made = fit_agreed(members, found, shown, encoding, work.device, last)
        save(made, out)
        shutil.rmtree(room, ignore_errors=True)
    if not quiet:
        say(*agreement_in_words(made, members, out))


def agreement_in_words(made: USAE, members: list[USAE], out: Path) -> list[str]:
    """How many concepts were kept, and how many of them came back in all trainings."""
    assert made.agreement is not None
    in_all = int((made.agreement == 1).sum())
    return [
        f"{out}: {plural(made.n_concepts, 'concept')} over {', '.join(made.names)}, of {members[0].n_concepts} in each "
        f"of {len(members)} trainings; {in_all} came back in all of them"
    ]
