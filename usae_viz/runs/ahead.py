"""A plan's pictures, drawn by several processes ahead of the one that verifies and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.capacity import workers_for
from usae_train.runtime.progress import ProgressCallback, StepCallback
from usae_train.runtime.workers import Job, Tell, Workers
from usae_viz.export.animation import Snapshots
from usae_viz.optimization.loop import CanvasSpec, InvalidImageScore, OptimizationResult
from usae_viz.optimization.maximize import bytes_of, draw_part
from usae_viz.optimization.parts import DrawTogether, Part, drawn_together, groups_of
from usae_viz.runs.plan import RenderJob
from usae_viz.settings import MaximizeSettings
from usae_viz.views.viewing import ViewConfig

DrawnAhead = tuple[OptimizationResult, Snapshots | None]


@dataclass
class Ahead:
    """What workers draw of some drawings.

    Attributes:
        drawings: which.
        groups: {the key of a drawing: the job and the rows of each group of its pictures}.
        report: is told how far each drawing is.
        workers: who does the jobs.
    """

    drawings: Sequence[RenderJob]
    groups: dict[str, list[tuple[int, range]]]
    report: ProgressCallback
    workers: Workers[DrawnAhead] = field(init=False)
    _seen: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)  # {job: steps done, scores}
    _drawing: dict[int, int] = field(init=False)  # {job: the place of its drawing}

    def __post_init__(self) -> None:
        places = {drawing.key: place for place, drawing in enumerate(self.drawings)}
        self._drawing = {job: places[key] for key, groups in self.groups.items() for job, _ in groups}

    def draw_of(self, drawings: Sequence[RenderJob]) -> DrawTogether:
        """How the pictures of some drawings of different objectives come about: a worker has them, or will."""
        keys = {id(drawing.objective): drawing.key for drawing in drawings}

        def draw(
            view_config: ViewConfig,
            pictures: Sequence[CanvasSpec],
            settings: MaximizeSettings,
            start: Tensor | None,
            progress: StepCallback,
        ) -> list[Part]:
            groups = self.groups[keys[id(pictures[0].objective)]]
            parts = self._parts(pictures, groups)
            if len(parts) > 1 and any(part.result.lost is not None for part in parts):
                parts = []
            # in one loop all pictures of an objective end where a score is lost: so be it, whoever draws
            return parts or drawn_together(view_config, pictures, settings, start, progress)

        return draw

    def _parts(self, pictures: Sequence[CanvasSpec], groups: Sequence[tuple[int, range]]) -> list[Part]:
        """A part each group; none when the score of one of several was not finite at its first step."""
        parts = []
        for job, rows in groups:
            try:
                result, snapshots = self.workers.result(job)
            except InvalidImageScore:
                if len(groups) == 1:
                    raise
                return []
            parts.append(Part(pictures[rows.start : rows.stop], result, snapshots))
        return parts

    def told(self, job: int, words: tuple[int, dict[str, float]]) -> None:
        """Report what a job tells, together with the other jobs of its drawing."""
        self._seen[job] = words
        drawing = self.drawings[self._drawing[job]]
        found = [self._seen.get(own, (0, {})) for own, _ in self.groups[drawing.key]]
        scores = {name: score for _, own in found for name, score in own.items()}
        done = sum(done for done, _ in found) // len(found)
        report_steps(self.report, [drawing], done, scores)


@contextmanager
def drawn_ahead(
    usae: USAE, drawings: Sequence[RenderJob], asked: int | None, report: ProgressCallback
) -> Iterator[Ahead | None]:
    """Let workers draw, in order; None where this process does it alone.

    Args:
        usae: the USAE.
        drawings: what is to be drawn.
        asked: how many workers; see `workers_for`.
        report: is told how far each drawing is.

    Raises:
        ValueError: for a number of workers that cannot be.
    """
    count = workers_of(usae, drawings, asked)
    if count == 1:
        yield None
        return
    groups, jobs = dict[str, list[tuple[int, range]]](), list[Job[DrawnAhead]]()
    for drawing in drawings:
        rows = groups_of(len(drawing.names), drawing.objective, drawing.settings, -(-count // len(drawings)))
        groups[drawing.key] = [(len(jobs) + number, own) for number, own in enumerate(rows)]
        jobs += [_job(usae, drawing, own) for own in rows]
    ahead = Ahead(drawings, groups, report)
    ahead.workers = Workers(jobs, count, ahead.told)
    with ahead.workers:
        yield ahead


def workers_of(usae: USAE, drawings: Sequence[RenderJob], asked: int | None) -> int:
    """How many workers draw: no more than there are pictures, nor than the memory bears.

    Raises:
        ValueError: for a number of workers that cannot be.
    """
    pictures, device = sum(len(drawing.names) for drawing in drawings), usae.device.type
    count = workers_for(asked, pictures, device)
    if count == 1:
        return 1
    by_settings: dict[MaximizeSettings, list[RenderJob]] = {}
    for drawing in drawings:
        by_settings.setdefault(drawing.settings, []).append(drawing)
    each = max(bytes_of(usae, settings, [d.objective for d in own]) for settings, own in by_settings.items())
    limit = min((settings.memory for settings in by_settings if settings.memory is not None), default=None)
    count = workers_for(asked, pictures, device, each)
    return count if limit is None else max(1, min(count, int(limit * 1e9 / each)))


def _job(usae: USAE, drawing: RenderJob, rows: range) -> Job[DrawnAhead]:
    def job(tell: Tell) -> DrawnAhead:
        part = draw_part(usae, drawing.objective, drawing.settings, rows, lambda done, scores: tell((done, scores)))
        return part.result, part.snapshots  # the objectives stay where they are: no other process could read them

    return job


def report_steps(report: ProgressCallback, drawings: Sequence[RenderJob], done: int, scores: dict[str, float]) -> None:
    """Say how far some drawings of equal settings are."""
    words = "  ".join(f"{name} {score:.2f}" for name, score in scores.items())
    report(_stage(drawings), done, drawings[0].settings.steps, words)


def _stage(drawings: Sequence[RenderJob]) -> str:
    first = drawings[0]
    what = str(first.objective) if len(drawings) == 1 else f"{len(drawings)} objectives"
    what = what if len(what) <= 40 else what[:37] + "..."
    variant = f" {first.variant}" if first.variant is not None else ""
    return f"{what}{variant} {first.settings.mode} seed {first.settings.seed}"
