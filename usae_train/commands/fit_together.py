"""`usae-train fit` without --independent or --starts: one USAE, in one process or in those that torchrun started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from usae_train.commands.opening import open_pictures, say_default_backbones
from usae_train.commands.training_place import training_place
from usae_train.runtime.printing import plural, say
from usae_train.runtime.terminal import bars, bars_or_lines, pick_device, progress_report, say_skipped
from usae_train.tokens.settings import DEFAULT_BACKBONES
from usae_train.training.settings import ExecutionSettings, FitSettings

if TYPE_CHECKING:
    from usae_train.backbones.spec import BackboneSpec
    from usae_train.images.sources import ImageSource
    from usae_train.model.usae import USAE
    from usae_train.runtime.distributed import DistributedContext
    from usae_train.tokens.store import ActivationStore
    from usae_train.tokens.token_tables import TokenTables
    from usae_train.training.execution import Execution
    from usae_train.training.independent_fit import Executions


@dataclass(frozen=True)
class FitRequest:
    """What was typed to `fit`, its settings checked."""

    images: str
    out: Path
    backbones: str | None
    settings: FitSettings
    execution: ExecutionSettings
    verify_checksums: bool
    resume: bool
    tensorboard: Path | None
    wandb: str | None
    device: str
    quiet: bool

    @contextlib.contextmanager
    def executions(self) -> Iterator[Executions]:
        """How several trainings are done, under their bars."""
        from usae_train.training.independent_fit import Executions

        with progress_report(self.quiet) as report:
            yield Executions(pick_device(self.device), self.execution, report, say_skipped)


class Pictures(NamedTuple):
    """Pictures, and the backbones that are to see them."""

    source: ImageSource
    specs: Mapping[str, BackboneSpec]


def fit_together(request: FitRequest) -> None:
    """Train one USAE and write it.

    Raises:
        UsageError: as `fit_pictures`, `fit_store` and `fit_tables` do, and for a folder that is taken.
        Stopped: after SIGTERM or Ctrl-C; the state is kept.
    """
    from usae_train.model.checkpoint import save
    from usae_train.runtime.distributed import ranks_of_torchrun
    from usae_train.training.execution import Execution
    from usae_train.training.logging.metrics_log import METRICS

    device = pick_device(request.device)
    with ranks_of_torchrun(device) as ranks, contextlib.ExitStack() as holding:
        with ranks.raise_together():
            checkpointer = holding.enter_context(training_place(request.out, request.resume, request.execution, ranks))
            ranks.local_batch(request.settings.batch)
            data = open_fit_data(request, ranks.is_main)
        _look_at_store(request, data, ranks)
        memory, readers = request.execution.memory, request.execution.readers
        execution = Execution(device, checkpointer=checkpointer, memory=memory, readers=readers, ranks=ranks)
        usae, metrics = _train(request, data, execution)
        if ranks.is_main:
            with checkpointer.naming_last_state():
                save(usae, request.out, beside=[checkpointer.folder / METRICS])
            holding.close()
            if not request.quiet:
                _summarize(usae, request.out, metrics)


def open_fit_data(request: FitRequest, is_main: bool = True) -> TokenTables | ActivationStore | Pictures:
    """What a training sees: tokens, a store, or pictures; of several processes the main one says what is left out."""
    from usae_train.backbones.bundled_weights import check_weights
    from usae_train.model.spec_files import read_specs
    from usae_train.tokens.token_tables import tokens_to_fit
    from usae_train.training.fitting import store_to_fit

    limit = request.execution.limit
    tokens = tokens_to_fit(request.images, request.backbones, limit, request.verify_checksums)
    if tokens is not None:
        return tokens
    store = store_to_fit(request.images, request.backbones, limit, request.settings.dtype, request.verify_checksums)
    if store is None:
        specs = read_specs(request.backbones or DEFAULT_BACKBONES)
        pictures = Pictures(open_pictures(request.images, limit, is_main), specs)
        if is_main and not request.quiet:
            say_default_backbones(request.backbones)
        return pictures
    if is_main:
        check_weights(store.specs)
    return store


def _look_at_store(request: FitRequest, data: object, ranks: DistributedContext) -> None:
    """Compare a store's checksums where that was asked for, and say when its pictures are others by now."""
    from usae_train.tokens.store import ActivationStore
    from usae_train.tokens.verifying import check_checksums

    if not isinstance(data, ActivationStore):
        return
    if request.verify_checksums:
        with progress_report(request.quiet or not ranks.is_main) as report:
            check_checksums(data, report, ranks)
    if ranks.is_main and data.changed_pictures():
        say(
            f"warning: {data.record.source} has changed since {request.images} was extracted; its tokens are intact, "
            "but the USAE's top pictures may not be found there",
            err=True,
        )


def _train(
    request: FitRequest,
    data: TokenTables | ActivationStore | Pictures,
    execution: Execution,
) -> tuple[USAE, Mapping[str, Any]]:
    """The USAE, and the last metrics of its training; its bars, metrics and states are the first process's.

    Args:
        request: what was typed.
        data: what it is trained on.
        execution: how it is carried out, but for its callbacks.
    """
    from usae_train.runtime.signals import report_stop_on_main
    from usae_train.training.logging.callbacks import FitCallbacks, logging_callbacks
    from usae_train.training.logging.display import TrainingDisplay, summary
    from usae_train.training.logging.metrics_log import METRICS, MetricsLogger
    from usae_train.training.logging.trackers import open_trackers

    assert execution.checkpointer is not None
    states = execution.checkpointer.folder
    is_main, unseen, last = execution.ranks.is_main, request.quiet or not execution.ranks.is_main, dict[str, Any]()
    with execution.ranks.raise_together():
        trackers = []
        if is_main:
            settings = request.settings.model_dump(mode="json")
            trackers = open_trackers(request.tensorboard, request.wandb, request.out.name, settings, states)
    with (
        report_stop_on_main(is_main),
        MetricsLogger(states / METRICS, trackers) as metrics_logger,
        execution.checkpointer.stop_on_signals(),
        bars(TrainingDisplay, unseen) as progress,
    ):

        def beneath_the_bars(metrics: Mapping[str, Any]) -> str:
            progress.metrics = metrics
            last.update(metrics)
            return summary(metrics) if progress.disable else ""

        callbacks = FitCallbacks(log_every=request.execution.log_every)
        if is_main:
            report, steps = bars_or_lines(progress, unseen), request.settings.steps
            callbacks = logging_callbacks(
                metrics_logger, report, steps, note=beneath_the_bars, failure=say_skipped, log_every=callbacks.log_every
            )
        return _fit_by_kind(data, request.settings, replace(execution, callbacks=callbacks)), last


def _fit_by_kind(data: TokenTables | ActivationStore | Pictures, settings: FitSettings, execution: Execution) -> USAE:
    """By what the data is."""
    from usae_train.tokens.token_tables import TokenTables
    from usae_train.training.fitting import fit_pictures, fit_store, fit_tables

    if isinstance(data, Pictures):
        return fit_pictures(data.source, settings, data.specs, execution)
    return (
        fit_tables(data, settings, execution) if isinstance(data, TokenTables) else fit_store(data, settings, execution)
    )


def _summarize(usae: USAE, out: Path, metrics: Mapping[str, Any]) -> None:
    """Print what was made, how good it is, and what to do next, as `ut.fit` says it."""
    from usae_train.tokens.standardization import outliers_as_text
    from usae_train.training.logging.display import dead_shares
    from usae_train.training.logging.fit_summary import alive_lines, r2_lines
    from usae_train.training.logging.step_metrics import dead_of

    dead = dead_shares(dead_of(usae))
    say(f"{out}: {plural(usae.n_concepts, 'concept')} over {', '.join(usae.names)}; dead: {dead}")
    say(*r2_lines(metrics), *alive_lines(usae), outliers_as_text(usae.outliers))
    if usae.specs:
        say(f"next: usae-train evaluate {out} HELD_OUT says how good it is; usae-viz maximize -c 0 --usae {out} draws")
