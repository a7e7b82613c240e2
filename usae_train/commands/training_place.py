"""Where a command's training lies: a folder that nobody else may write meanwhile, and its states beside that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from usae_train.runtime.terminal import progress_report, say_skipped
from usae_train.training.settings import ExecutionSettings

if TYPE_CHECKING:
    from usae_train.runtime.distributed import DistributedContext
    from usae_train.training.checkpointing import TrainingCheckpointer
    from usae_train.training.logging.callbacks import FitCallbacks


@contextmanager
def training_place(
    out: Path, resume: bool, execution: ExecutionSettings, ranks: DistributedContext | None = None
) -> Iterator[TrainingCheckpointer]:
    """Within it the folder is held; what keeps its states. When all went well these are no more.

    Of processes that train as one the first alone holds, and tidies up; what is raised there is for them to share.

    Raises:
        ValueError: for a folder that is not empty, or a training that waits there and is not to be resumed.
    """
    from usae_train.files.atomic import check_free
    from usae_train.files.locks import folder_lock
    from usae_train.training.checkpointing import TrainingCheckpointer
    from usae_train.training.states_folder import states_folder

    is_main = ranks is None or ranks.is_main
    with folder_lock(out) if is_main else nullcontext():
        if is_main:
            check_free(out)
        states = states_folder(out, resume or not is_main)
        yield TrainingCheckpointer(states, execution.checkpoint_minutes, execution.keep_checkpoints)
        if is_main:
            shutil.rmtree(states, ignore_errors=True)


@contextmanager
def log_stages(
    files: Mapping[str, Path], steps: int, execution: ExecutionSettings, quiet: bool
) -> Iterator[list[FitCallbacks]]:
    """Within it each stage of a training has a bar, by its name, and a file of metrics.

    Args:
        files: {stage: its file}.
        steps: of each.
        execution: how often a step is logged.
        quiet: without bars.
    """
    from usae_train.training.logging.callbacks import logging_callbacks
    from usae_train.training.logging.metrics_log import MetricsLogger

    with ExitStack() as beside:
        report = beside.enter_context(progress_report(quiet))
        loggers = {stage: beside.enter_context(MetricsLogger(file)) for stage, file in files.items()}
        yield [
            logging_callbacks(logger, report, steps, stage, failure=say_skipped, log_every=execution.log_every)
            for stage, logger in loggers.items()
        ]
