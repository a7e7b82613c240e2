"""What is called while a training runs; of one on the command line, its metrics.jsonl and its bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from usae_train.runtime.progress import CountCallback, ProgressCallback, StepCallback, counting
from usae_train.training.logging.metrics_log import MetricsLogger

Note = Callable[[Mapping[str, Any]], str]  # a step's figures -> what stands beside the bar


@dataclass(frozen=True)
class FitCallbacks:
    """What to call while a fit runs."""

    pictures: CountCallback = lambda done, total: None
    steps: StepCallback = lambda step, figures: None
    log_every: int | None = None  # optimizer steps between two calls of `steps`; a hundredth of the training by default
    failure: Callable[[str], None] = lambda why: None  # a picture that could not be read


def loss_in_words(figures: Mapping[str, Any]) -> str:
    """What stands beside a training's bar."""
    return f"loss {figures['loss']:.4f}"


def logging_callbacks(
    metrics_logger: MetricsLogger,
    report: ProgressCallback,
    steps: int,
    training: str = "training",
    pictures: str = "pictures",
    note: Note = loss_in_words,
    **rest: Any,
) -> FitCallbacks:
    """A watch that writes every step's figures into a metrics_logger, and moves a bar for pictures and one for steps.

    Args:
        metrics_logger: where figures go.
        report: moves the bars.
        steps: of the whole training.
        training: what the bar of the steps is called.
        pictures: what the bar of the pictures is called.
        note: what stands beside the bar of the steps.
        rest: further fields of `FitCallbacks`.
    """

    def steps_done(step: int, figures: dict[str, Any]) -> None:
        metrics_logger.log(step, figures)
        report(training, step, steps, note(figures))

    return FitCallbacks(pictures=counting(report, pictures), steps=steps_done, **rest)
