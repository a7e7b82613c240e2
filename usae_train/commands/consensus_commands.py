"""`usae-train consensus`, and `fit --starts`: one concept space of what several trainings agree on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usae_train.agreement.settings import AgreementSettings
from usae_train.commands.fit_together import FitRequest, Pictures, open_fit_data
from usae_train.commands.opening import check_pictures_options, open_pictures
from usae_train.commands.options import DATA, RECIPE_DEFAULTS, Out, Resume
from usae_train.commands.training_place import log_stages, training_place
from usae_train.runtime.printing import plural, say
from usae_train.runtime.settings_options import knows_former, takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import one_line_errors, pick_device
from usae_train.training.settings import ExecutionSettings, FitSettings

if TYPE_CHECKING:
    from usae_train.agreement.fit_data import FitData
    from usae_train.images.sources import ImageSource
    from usae_train.model.usae import USAE
    from usae_train.tokens.store import ActivationStore
    from usae_train.tokens.token_tables import TokenTables
    from usae_train.training.independent_fit import Executions


# settings that the trainings have in common
SHARED_SETTINGS = ["n_concepts", "k", "n_private", "k_private", "init_seed", "sparsity", "dictionary"]


@knows_former({"images": "data"})
@takes_settings(AgreementSettings, leave_out=["starts"])
@takes_settings(ExecutionSettings)
@takes_settings(FitSettings, ranges=False, leave_out=SHARED_SETTINGS, defaults=RECIPE_DEFAULTS)
def consensus(
    usaes: Annotated[list[str], typer.Argument(help="Two or more USAEs from different starts: folders or ids.")],
    data: Annotated[str, typer.Option(help=f"Data that encoders are fitted on, required: {DATA}")],
    out: Out,
    execution: ExecutionSettings,
    agreement: AgreementSettings,
    resume: Resume = False,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Make one USAE of the concepts that several trainings agree on.

    Concepts are matched over all backbones' dictionaries at once; those found often enough are kept, with the mean
    of the matched rows, and the USAE is trained from these. The share of the trainings in which each was found is kept
    in the folder (agreement.safetensors).
    """
    with one_line_errors(quiet):
        from usae_train.commands.early_checks import check_training, check_usaes, has_data, typed_settings

        steps = typed_settings(settings, execution).steps
        check_pictures_options(data, {*settings, *execution.model_fields_set})
        check_training(out, resume)
        check_usaes(usaes)
        has_tokens = has_data(data, execution.limit)
        from usae_train.agreement.consensus import consensus as agree
        from usae_train.model.checkpoint import load, save
        from usae_train.training.logging.metrics_log import METRICS

        with training_place(out, resume, execution) as checkpointer:
            members = [load(each) for each in usaes]
            metrics = checkpointer.folder / METRICS
            with (
                log_stages({"training": metrics}, steps, execution, quiet) as (callbacks,),
                checkpointer.stop_on_signals(),
            ):
                usae = agree(
                    members,
                    data if has_tokens else open_pictures(data, execution.limit),
                    share=agreement.share,
                    alike=agreement.alike,
                    readers=execution.readers,
                    memory=execution.memory,
                    device=pick_device(device),
                    callbacks=callbacks,
                    checkpointer=checkpointer,
                    quiet=True,  # its bars are the command's
                    **settings,
                )
            with checkpointer.naming_last_state():
                save(usae, out, beside=[metrics] if metrics.is_file() else ())
        if not quiet:
            say(*agreement_in_words(usae, members, out))


def fit_from_starts(request: FitRequest, agreement: AgreementSettings) -> None:
    """`fit --starts`: train from several starts, each into `.NAME.starts`, then write what they agree on.

    The trainings are kept there until the consensus is written; run again, the command resumes.
    """
    from usae_train.agreement.trainings import fit_starts
    from usae_train.files.atomic import check_free
    from usae_train.files.locks import folder_lock
    from usae_train.model.checkpoint import save
    from usae_train.training.logging.callbacks import FitCallbacks

    trainings = request.out.with_name(f".{request.out.name}.starts")
    with request.executions() as executions:
        with folder_lock(request.out):
            check_free(request.out)
            fit_input = open_fit_data(request)
            source: TokenTables | ActivationStore | ImageSource
            source, specs = (fit_input.source, fit_input.specs) if isinstance(fit_input, Pictures) else (fit_input, {})
            callbacks = FitCallbacks(
                pictures=lambda done, total: executions.report("pictures", done, total, ""), failure=executions.failure
            )
            members, fit_data = fit_starts(
                agreement.starts, source, specs, request.settings, trainings, executions, callbacks
            )
            usae = _fit_consensus(members, fit_data, request.settings, agreement, executions)
            save(usae, request.out)
            shutil.rmtree(trainings, ignore_errors=True)
        if not request.quiet:
            say(*agreement_in_words(usae, members, request.out))


def _fit_consensus(
    members: list[USAE], fit_data: FitData, settings: FitSettings, agreement: AgreementSettings, executions: Executions
) -> USAE:
    """The space of what trainings agree on, fitted with their own settings."""
    from usae_train.agreement.consensus import consensus_settings, find_agreement, fit_consensus
    from usae_train.training.execution import Execution
    from usae_train.training.logging.callbacks import FitCallbacks, loss_in_words

    same = ("steps", "batch", "seed", "dtype", "mask_outliers", "max_broken")
    trained_with = consensus_settings(members, settings.recipe, **{name: getattr(settings, name) for name in same})
    callbacks = FitCallbacks(
        steps=lambda step, metrics: executions.report("consensus", step, settings.steps, loss_in_words(metrics))
    )
    clusters = find_agreement(members, agreement.share, agreement.alike)
    return fit_consensus(members, clusters, fit_data, trained_with, Execution(executions.device, callbacks))


def agreement_in_words(usae: USAE, members: list[USAE], out: Path) -> list[str]:
    """How many concepts were kept, and how many of them were found in all trainings."""
    assert usae.agreement is not None
    in_all = int((usae.agreement == 1).sum())
    return [
        f"{out}: {plural(usae.n_concepts, 'concept')} over {', '.join(usae.names)}, of {members[0].n_concepts} in each "
        f"of {len(members)} trainings; {in_all} were found in all of them"
    ]
