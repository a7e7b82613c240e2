"""metrics.jsonl: a line of metrics every so many steps, none twice and none lost when a training is stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from usae_train.files.atomic import write_atomically
from usae_train.files.json_files import as_object, parse_json
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text

METRICS = "metrics.jsonl"
JOINT_METRICS = "metrics-joint.jsonl"  # of the training that a grown space is compared with


class Tracker(Protocol):
    """Where metrics go besides the file."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """One step's metrics, nested."""
        ...

    def close(self) -> None:
        """Nothing more will be logged."""
        ...


class MetricsLogger:
    """Writes metrics.jsonl, and hands each line to trackers.

    A training that resumes from a state repeats the steps after it: at the first line, lines of
    the file with the same step or a later one are dropped, and so is a line that a kill cut short.

    Args:
        file: where; its folder is made when it is needed.
        trackers: TensorBoard, W&B.
    """

    def __init__(self, file: Path, trackers: Sequence[Tracker] = ()) -> None:
        self.file, self.trackers = file, trackers
        self._begun = False

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add a line; it is in the file when this returns.

        Raises:
            ValueError: when the file cannot be written.
        """
        if not self._begun:
            self._drop_from(step)
            self._begun = True
        try:
            with self.file.open("a") as opened:
                opened.write(json_text({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise UsageError(f"{self.file} cannot be written: {error.strerror}; free some space") from error
        for tracker in self.trackers:
            tracker.log(step, metrics)

    def __enter__(self) -> MetricsLogger:
        return self

    def __exit__(self, *ended: object) -> None:
        """Close the trackers."""
        for tracker in self.trackers:
            tracker.close()

    def _drop_from(self, step: int) -> None:
        earlier = [line for line in read_metrics(self.file) if line["step"] < step]
        write_atomically(self.file, "".join(json.dumps(line) + "\n" for line in earlier))


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics.jsonl; none when there is no such file."""
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(errors="replace").splitlines():
        try:
            line = as_object(parse_json(text))
        except UsageError:  # cut short by a kill
            continue
        if isinstance(line.get("step"), int):
            lines.append(line)
    return lines
