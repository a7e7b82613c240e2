"""What a plan will take, from a trial of a few steps of everything that differs in it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.export.animation import write_frames
from usae_viz.export.png import write_png
from usae_viz.optimization.maximize import maximize_each, view_config_for
from usae_viz.optimization.result import Result
from usae_viz.runs.manifest import Manifest
from usae_viz.runs.parallel_drawing import workers_of
from usae_viz.runs.plan import RenderJob, RenderPlan
from usae_viz.settings import MaximizeSettings

TRIAL_STEPS = 3  # the first, which warms up, is not counted
TRIAL_FRAMES = 50  # of an animation that is written to know its size; a longer one is larger in proportion


ObjectiveKind = Literal["concept", "class", "other"]  # what an objective draws


@dataclass(frozen=True)
class GroupEstimate:
    """Everything that is drawn with one variant and mode, of one kind, which takes equally long."""

    variant: str | None
    mode: str
    kind: ObjectiveKind
    drawings: int
    pictures: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Estimate:
    """What is left to draw."""

    folders: int
    finished: int  # pictures that exist already
    groups: tuple[GroupEstimate, ...]  # each as one process would draw it
    processes: int = 1  # that draw at the same time

    @property
    def seconds(self) -> float:
        """With all processes drawing."""
        return sum(group.seconds for group in self.groups) / self.processes

    @property
    def megabytes(self) -> float:
        """Of pictures and animations, without sheets."""
        return sum(group.megabytes for group in self.groups)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folders": self.folders,
            "finished": self.finished,
            "pictures": sum(group.pictures for group in self.groups),
            "seconds": self.seconds,
            "processes": self.processes,
            "megabytes": self.megabytes,
            "parts": [asdict(group) for group in self.groups],
        }


@with_torch_defaults
def estimate(usae: USAE, plan: RenderPlan, out: Path, workers: int | None = 1, ranks: int = 1) -> Estimate:
    """Try what is left of a plan in a run's folder, where pictures may be finished already; nothing stays on disk.

    `workers` draw for each of the `ranks` processes that torchrun has started, as for `render`.

    Raises:
        ValueError: for more workers than are possible.
    """
    manifest = Manifest(out)
    unfinished = [job for job in plan.jobs if not manifest.finished(job)]
    processes = ranks * workers_of(usae, unfinished, workers) if unfinished else 1
    by_group: dict[tuple[str | None, MaximizeSettings, ObjectiveKind, tuple[str, ...] | None], list[RenderJob]] = {}
    for job in unfinished:
        seedless = job.settings.model_copy(update={"seed": 0})
        by_group.setdefault((job.variant, seedless, _kind(job), job.objective.backbones), []).append(job)
    for job in unfinished[:1]:  # what is done only once, such as building the backbones, is not part of each job
        _trial(usae, job, 1)
    groups = [_group(usae, plan, jobs) for jobs in by_group.values()]
    finished = plan.pictures - sum(len(job.names) for job in unfinished)
    return Estimate(len({job.folder for job in unfinished}), finished, tuple(groups), processes)


def _kind(job: RenderJob) -> ObjectiveKind:
    if job.objective.classes:
        return "class"
    return "concept" if job.objective.concepts else "other"


def _group(usae: USAE, plan: RenderPlan, jobs: Sequence[RenderJob]) -> GroupEstimate:
    variant, settings = jobs[0].variant, jobs[0].settings
    view_config_for(usae, settings, [job.objective for job in jobs])  # refuses what does not fit into the memory
    start = time.perf_counter()
    result, ticks = _trial(usae, jobs[0], min(TRIAL_STEPS, settings.steps))
    end = time.perf_counter()
    seconds_per_step = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else ticks[0] - start
    other_seconds = (end - start) - (ticks[-1] - ticks[0])  # the first step, the verification
    seconds = other_seconds + seconds_per_step * (settings.steps - 1)
    with tempfile.TemporaryDirectory() as folder:
        length = 1 + -(-settings.steps // (settings.snapshots or settings.steps))
        for name, canvas in result.images.items():
            alpha = result.alpha[name] if settings.alpha else None
            write_png(Path(folder) / f"{name}.png", canvas, result.metadata(name), alpha)
            for animation in plan.animations:
                # equal frames would take almost no space
                frames = islice(cycle(result.frames[name]), min(length, TRIAL_FRAMES))
                write_frames(Path(folder) / f"{name}.{animation}", frames)
        bytes_each = sum(
            file.stat().st_size * (1 if file.suffix == ".png" else max(1, length / TRIAL_FRAMES))
            for file in Path(folder).iterdir()
        )
    pictures = sum(len(job.names) for job in jobs)
    seconds, megabytes = seconds * len(jobs), bytes_each * len(jobs) / 1e6
    return GroupEstimate(variant, settings.mode, _kind(jobs[0]), len(jobs), pictures, seconds, megabytes)


def _trial(usae: USAE, job: RenderJob, steps: int) -> tuple[Result, list[float]]:
    """A drawing of a few steps, with a snapshot at each where it has any, and when each step was done."""
    snapshots = 1 if job.settings.snapshots is not None else None
    settings = job.settings.model_copy(update={"steps": steps, "patience": None, "snapshots": snapshots})
    ticks: list[float] = []
    (result,) = maximize_each(usae, [job.objective], settings, lambda done, scores: ticks.append(time.perf_counter()))
    return result, ticks
