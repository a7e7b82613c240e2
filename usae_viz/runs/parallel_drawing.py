"""A plan's pictures, drawn by worker processes ahead of the one that verifies and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from usae_train.model.usae import USAE
from usae_train.runtime.capacity import workers_for
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.workers import Job, JobReport, Workers
from usae_viz.export.animation import Snapshots
from usae_viz.objectives import Objective
from usae_viz.optimization.drawing import CanvasBatch, DrawnCanvases, DrawTogether, draw_together, image_groups
from usae_viz.optimization.loop import CanvasSpec, InvalidImageScore, OptimizationResult
from usae_viz.optimization.maximize import bytes_of, draw_group
from usae_viz.runs.plan import RenderJob
from usae_viz.settings import MaximizeSettings

DrawnGroup = tuple[OptimizationResult, Snapshots | None]


@dataclass
class ParallelDrawing:
    """What workers draw of some jobs, each a group of its pictures at a time: a worker's task.

    Attributes:
        jobs: which.
        groups: {the key of a job: the task and the rows of each group of its pictures}.
        report: called with how far each job is.
        workers: who does the tasks.
    """

    jobs: Sequence[RenderJob]
    groups: dict[str, list[tuple[int, range]]]
    report: ProgressCallback
    workers: Workers[DrawnGroup] = field(init=False)
    _progress: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)  # {task: steps done, scores}
    _job_of: dict[int, RenderJob] = field(init=False)  # by task

    def __post_init__(self) -> None:
        self._job_of = {task: job for job in self.jobs for task, _ in self.groups[job.key]}

    def draw_of(self, jobs: Sequence[RenderJob]) -> DrawTogether:
        """How the pictures of some jobs of different objectives come about: a worker has them, or will."""
        keys = {id(job.objective): job.key for job in jobs}

        def draw(batch: CanvasBatch) -> list[DrawnCanvases]:
            canvases = self._drawn(batch.specs, self.groups[keys[id(batch.specs[0].objective)]])
            if len(canvases) > 1 and any(each.result.failed_row is not None for each in canvases):
                canvases = []
            # in one loop all pictures of an objective end where one's score is not finite; here they must too
            return canvases or draw_together(batch)

        return draw

    def _drawn(self, specs: Sequence[CanvasSpec], groups: Sequence[tuple[int, range]]) -> list[DrawnCanvases]:
        """The canvases of each group; none where one of several had a score that was not finite at its first step."""
        canvases = []
        for task, rows in groups:
            try:
                result, snapshots = self.workers.result(task)
            except InvalidImageScore:
                if len(groups) == 1:
                    raise
                return []
            canvases.append(DrawnCanvases(specs[rows.start : rows.stop], result, snapshots))
        return canvases

    def take_progress(self, task: int, progress: tuple[int, dict[str, float]]) -> None:
        """Report how far a task is, together with the other tasks of its job."""
        self._progress[task] = progress
        job = self._job_of[task]
        of_job = [self._progress.get(each, (0, {})) for each, _ in self.groups[job.key]]
        scores = {name: score for _, scores_by_name in of_job for name, score in scores_by_name.items()}
        report_steps(self.report, [job], sum(done for done, _ in of_job) // len(of_job), scores)


@contextmanager
def drawn_in_parallel(
    usae: USAE, jobs: Sequence[RenderJob], workers: int | None, report: ProgressCallback
) -> Iterator[ParallelDrawing | None]:
    """Let workers draw jobs, in order; None where this process does it alone.

    Raises:
        ValueError: for an impossible number of workers, see `workers_for`.
    """
    count = workers_of(usae, jobs, workers)
    if count == 1:
        yield None
        return
    groups, tasks = dict[str, list[tuple[int, range]]](), list[Job[DrawnGroup]]()
    for job in jobs:
        rows = image_groups(len(job.names), job.objective, job.settings, -(-count // len(jobs)))
        groups[job.key] = [(len(tasks) + number, group) for number, group in enumerate(rows)]
        tasks += [_task(usae, job, group) for group in rows]
    drawing = ParallelDrawing(jobs, groups, report)
    drawing.workers = Workers(tasks, count, drawing.take_progress)
    with drawing.workers:
        yield drawing


def workers_of(usae: USAE, jobs: Sequence[RenderJob], workers: int | None) -> int:
    """How many workers draw: no more than there are pictures, and no more than fit into the memory.

    Raises:
        ValueError: for an impossible number of workers.
    """
    images, device = sum(len(job.names) for job in jobs), usae.device.type
    count = workers_for(workers, images, device)
    if count == 1:
        return 1
    objectives: dict[MaximizeSettings, list[Objective]] = {}
    for job in jobs:
        objectives.setdefault(job.settings, []).append(job.objective)
    bytes_each = max(bytes_of(usae, settings, objective) for settings, objective in objectives.items())
    limit = min((settings.memory for settings in objectives if settings.memory is not None), default=None)
    count = workers_for(workers, images, device, bytes_each)
    return count if limit is None else max(1, min(count, int(limit * 1e9 / bytes_each)))


def _task(usae: USAE, job: RenderJob, rows: range) -> Job[DrawnGroup]:
    def task(report: JobReport) -> DrawnGroup:
        group = draw_group(usae, job.objective, job.settings, rows, lambda done, scores: report((done, scores)))
        # objectives are not sent back: they cannot be pickled
        return group.result, group.snapshots

    return task


def report_steps(report: ProgressCallback, jobs: Sequence[RenderJob], done: int, scores: dict[str, float]) -> None:
    """Say how far some jobs of equal settings are."""
    words = "  ".join(f"{name} {score:.2f}" for name, score in scores.items())
    report(_stage(jobs), done, jobs[0].settings.steps, words)


def _stage(jobs: Sequence[RenderJob]) -> str:
    first = jobs[0]
    subject = str(first.objective) if len(jobs) == 1 else f"{len(jobs)} objectives"
    subject = subject if len(subject) <= 40 else subject[:37] + "..."
    variant = f" {first.variant}" if first.variant is not None else ""
    return f"{subject}{variant} {first.settings.mode} seed {first.settings.seed}"
