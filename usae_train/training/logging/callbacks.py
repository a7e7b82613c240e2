"""What is called while a training runs: a caller's own, a command's metrics.jsonl and bars, and bars in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from usae_train.model.usae import USAE
from usae_train.runtime.progress import CountCallback, ProgressCallback, StepCallback, stage_counter
from usae_train.runtime.progress_display import ProgressDisplay
from usae_train.training.logging.fit_summary import fitted_lines, next_lines
from usae_train.training.logging.metrics_log import MetricsLogger

BarNote = Callable[[Mapping[str, Any]], str]  # a step's metrics -> the text beside the bar


@dataclass(frozen=True)
class FitCallbacks:
    """What to call while a fit runs."""

    pictures: CountCallback = lambda done, total: None
    steps: StepCallback = lambda step, metrics: None
    log_every: int | None = None  # optimizer steps between two calls of `steps`; a hundredth of the training by default
    failure: Callable[[str], None] = lambda why: None  # a picture that could not be read


def loss_in_words(metrics: Mapping[str, Any]) -> str:
    """The text beside a training's bar."""
    return f"loss {metrics['loss']:.4f}"


def logging_callbacks(
    metrics_logger: MetricsLogger,
    report: ProgressCallback,
    steps: int,
    training: str = "training",
    pictures: str = "pictures",
    note: BarNote = loss_in_words,
    **rest: Any,
) -> FitCallbacks:
    """Callbacks that write every step's metrics into metrics.jsonl, and move a bar for pictures and one for steps.

    Args:
        metrics_logger: where metrics go.
        report: moves the bars.
        steps: number of steps of the whole training.
        training: name of the bar of the steps.
        pictures: name of the bar of the pictures.
        note: the text beside the bar of the steps.
        rest: further fields of `FitCallbacks`.
    """

    def steps_done(step: int, metrics: dict[str, Any]) -> None:
        metrics_logger.log(step, metrics)
        report(training, step, steps, note(metrics))

    return FitCallbacks(pictures=stage_counter(report, pictures), steps=steps_done, **rest)


class FitBars:
    """Bars for a training that Python asked for, and the lines at its end.

    Args:
        progress: what shows them.
        steps: number of steps of the whole training.
    """

    def __init__(self, progress: ProgressDisplay, steps: int) -> None:
        self.progress, self.steps = progress, steps
        self.metrics: Mapping[str, Any] = {}

    def beside(self, callbacks: FitCallbacks, stage: str = "training") -> FitCallbacks:
        """These bars, and then a caller's own callbacks; `stage` is the name of the bar of the steps."""

        def pictures(done: int, total: int) -> None:
            self.progress.report("pictures", done, total, "")
            callbacks.pictures(done, total)

        def steps(step: int, metrics: dict[str, Any]) -> None:
            self.metrics = metrics
            self.progress.report(stage, step, self.steps, loss_in_words(metrics))
            callbacks.steps(step, metrics)

        return replace(callbacks, pictures=pictures, steps=steps)

    def close(self, usae: USAE) -> None:
        """Say how it went, and what to do next."""
        self.progress.close(lambda: [*fitted_lines(usae, self.metrics), *next_lines(usae)])
