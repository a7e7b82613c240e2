"""Callbacks that report the progress of long work; `terminal.stages` makes a bar for each stage of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ProgressCallback = Callable[[str, int, int, str], None]  # stage, done, in all, a figure in words
StageCallback = Callable[[str, int, int], None]  # stage, done, in all
CountCallback = Callable[[int, int], None]  # done, in all
StepCallback = Callable[[int, dict[str, Any]], None]  # steps done, what is known after them


def stage_line(stage: str, done: int, total: int, note: str) -> str:
    """How far a stage is: `pictures: 3 of 8, skipped 1`."""
    return f"{stage}: {done} of {total}{', ' if note else ''}{note}"


def stage_counter(report: ProgressCallback, stage: str, note: str = "") -> CountCallback:
    """A callback that reports what is counted as a stage, with a note beside it."""
    return lambda done, total: report(stage, done, total, note)
