"""`usae-train fit` and `add-backbone`: the commands that train a concept space, and teach one another backbone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usae_train.agreement.settings import AgreementSettings
from usae_train.commands.consensus_commands import fit_from_starts
from usae_train.commands.fit_together import FitRequest, fit_together
from usae_train.commands.opening import check_pictures_options, open_pictures, say_default_backbones
from usae_train.commands.options import (
    RECIPE_DEFAULTS,
    Backbones,
    Images,
    Independent,
    Out,
    Resume,
    TensorBoardFolder,
    TrainingData,
    Usae,
    VerifyChecksums,
    Wandb,
)
from usae_train.commands.training_place import log_stages, training_place
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural, say, say_json
from usae_train.runtime.settings_options import knows_former, takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import is_alone, one_line_errors, pick_device
from usae_train.training.settings import ExecutionSettings, FitSettings


@knows_former({"verify": "verify_checksums"})
@takes_settings(AgreementSettings)
@takes_settings(ExecutionSettings)
@takes_settings(FitSettings, ranges=False, defaults=RECIPE_DEFAULTS)
def fit(
    images: TrainingData,
    out: Out,
    execution: ExecutionSettings,
    agreement: AgreementSettings,
    backbones: Backbones = None,
    verify_checksums: VerifyChecksums = False,
    independent: Independent = False,
    resume: Resume = False,
    tensorboard: TensorBoardFolder = None,
    wandb: Wandb = None,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Train a USAE on pictures seen by several backbones, and write it with its statistics.

    Training states and metrics.jsonl lie in .NAME.training beside the folder NAME until it is finished; then
    metrics.jsonl lies in it. SIGTERM and Ctrl-C write a state and stop; a second Ctrl-C stops at once. Without
    a terminal, a line about every half minute reports progress.
    """
    with one_line_errors(quiet):
        from usae_train.commands.early_checks import check_data, check_training, typed_settings
        from usae_train.files.atomic import check_folder

        chosen = typed_settings(settings, execution)
        check_pictures_options(images, {*settings, *execution.model_fields_set})
        request = FitRequest(
            images, out, backbones, chosen, execution, verify_checksums, resume, tensorboard, wandb, device, quiet
        )
        _check_kind(request, independent, agreement)
        if is_alone():
            if independent:
                check_folder(out)
            else:
                check_training(out, resume, from_starts=agreement.starts > 1)
            check_data(images, backbones, execution.limit)
        if independent:
            _fit_independent(request)
        elif agreement.starts > 1:
            fit_from_starts(request, agreement)
        else:
            fit_together(request)


def _check_kind(request: FitRequest, independent: bool, agreement: AgreementSettings) -> None:
    """Refuse options of another kind of training than the one that is asked for."""
    from_starts, tracked = agreement.starts > 1, request.tensorboard is not None or request.wandb is not None
    if independent and from_starts:
        raise typer.BadParameter("--independent and --starts: give one of them")
    if not from_starts and agreement.model_fields_set & {"share", "alike"}:
        raise typer.BadParameter("--share and --alike need several trainings; give --starts as well")
    if request.settings.n_private and (independent or from_starts):
        why = "an SAE has all concepts for itself" if independent else "a consensus is of concepts that all share"
        raise typer.BadParameter(f"--n-private needs one training of several backbones; {why}")
    if independent and tracked:
        raise typer.BadParameter("--independent runs many trainings; each writes metrics.jsonl, and has no tracker")
    if request.resume and (independent or from_starts):
        many = "--independent" if independent else "--starts"
        raise typer.BadParameter(f"the same command resumes {many}; leave --resume out")
    if from_starts and (request.verify_checksums or tracked):
        raise typer.BadParameter(
            "--starts runs many trainings; it takes neither --verify-checksums nor --tensorboard nor --wandb"
        )
    if from_starts and not is_alone():
        raise UsageError("--starts trains in one process; start it without torchrun")


def _fit_independent(request: FitRequest) -> None:
    """`fit --independent`: the same settings for each backbone's own space."""
    from usae_train.training.independent_fit import fit_independent
    from usae_train.training.logging.display import dead_shares

    settings = request.settings
    on_open = (lambda: None) if request.quiet else (lambda: say_default_backbones(request.backbones))
    with request.executions() as executions:
        dead = fit_independent(
            request.images, request.out, request.backbones, settings, executions, request.verify_checksums, on_open
        )
    if not request.quiet:
        concepts = plural(settings.n_concepts, "concept")
        say(f"{request.out}: an SAE of {concepts} for each backbone; dead: {dead_shares(dead)}")


NewBackbone = Annotated[str, typer.Option(help="The backbone to add: a timm id, or a YAML of one spec with a name.")]
BackboneName = Annotated[
    str | None, typer.Option(help="What to call the backbone; the YAML's name, or the id without its tag, by default.")
]
Joint = Annotated[
    bool, typer.Option("--joint", help="Also train all together from scratch, to compare R² with; takes longer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


@takes_settings(ExecutionSettings)
@takes_settings(
    FitSettings, ranges=False, leave_out=["n_concepts", "k", "n_private", "k_private"], defaults=RECIPE_DEFAULTS
)
def add_backbone(
    usae: Usae,
    images: Images,
    execution: ExecutionSettings,
    backbone: NewBackbone,
    out: Out,
    name: BackboneName = None,
    joint: Joint = False,
    resume: Resume = False,
    as_json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Teach a new backbone to share a finished concept space; the known backbones stay as they are, to the bit.

    R² is measured on a tenth of the pictures (500 at most), which is held out. Training states lie in
    .NAME.training beside the folder NAME until it is finished, and so does metrics.jsonl (of joint training
    metrics-joint.jsonl), which then lies in it; SIGTERM and Ctrl-C write a state and stop.
    """
    with one_line_errors(quiet):
        from usae_train.commands.early_checks import check_training, check_usaes, one_backbone, typed_settings
        from usae_train.images.places import check_images

        steps = typed_settings(settings, execution).steps
        check_training(out, resume)
        check_usaes([usae])
        check_images(images, execution.limit)
        own_name, spec = one_backbone(backbone, "add one at a time")
        from usae_train.model.checkpoint import load, save
        from usae_train.training.add_backbone import add_backbone as grow
        from usae_train.training.logging.metrics_log import JOINT_METRICS, METRICS

        with training_place(out, resume, execution) as checkpointer:
            stages = {"training": METRICS, **({"joint training": JOINT_METRICS} if joint else {})}
            files = {stage: checkpointer.folder / file for stage, file in stages.items()}
            with log_stages(files, steps, execution, quiet) as callbacks, checkpointer.stop_on_signals():
                grown = grow(
                    load(usae),
                    open_pictures(images, execution.limit),
                    spec,
                    name=name or own_name,
                    joint=joint,
                    readers=execution.readers,
                    memory=execution.memory,
                    device=pick_device(device),
                    callbacks=callbacks[0],
                    joint_callbacks=callbacks[-1],
                    checkpointer=checkpointer,
                    quiet=True,  # its bars are the command's
                    **settings,
                )
            with checkpointer.naming_last_state():
                save(grown.usae, out, beside=[file for file in files.values() if file.is_file()])
        if as_json:
            say_json(grown.figures())
        elif not quiet:
            say(f"{out}: {plural(grown.usae.n_concepts, 'concept')} over {', '.join(grown.usae.names)}")
            say(*grown.in_words())
