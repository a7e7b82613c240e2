"""A run folder while it is filled: each objective's pictures, animations and records, then its sheet and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from usae_train.files.atomic import write_json
from usae_train.files.json_files import read_object_or_empty
from usae_train.files.place_names import path_of_name
from usae_train.images.decoding import read_picture
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.runtime.progress import ProgressCallback
from usae_viz.export.animation import write_frames
from usae_viz.export.naming import shown_concept, title_with_edits
from usae_viz.export.png import check_whole, read_pixels, read_png, save_png, write_png
from usae_viz.export.provenance import provenance
from usae_viz.export.run_record import pictures_by_folder, run_record, write_run_record
from usae_viz.export.sheet import MAX_IN_A_ROW, SHEET, sheet, side_by_side
from usae_viz.export.top_patches import top_patch_pictures
from usae_viz.optimization.drawing import draw_together
from usae_viz.optimization.halving import HalvingDraw
from usae_viz.optimization.loop import InvalidImageScore
from usae_viz.optimization.maximize import maximize_each
from usae_viz.optimization.result import Result
from usae_viz.runs.manifest import JobRecord, Manifest, scores_of, statistics_hash
from usae_viz.runs.parallel_drawing import ParallelDrawing, report_steps
from usae_viz.runs.plan import RenderJob, RenderPlan
from usae_viz.verification.scores import Scores, count_verdicts


@dataclass(frozen=True)
class ObjectiveResult:
    """What came of one objective in a run."""

    objective: str
    folder: Path
    images: tuple[str, ...]  # none where nothing could be drawn
    scores: Scores | None  # of all its pictures
    ended: str | None  # why one of its optimizations ended early
    stopped: bool  # whether Ctrl-C ended one
    failed: bool  # whether a score that was not finite ended one, or one could not be drawn


class RunWriter:
    """A run folder that one process fills.

    Attributes:
        undrawable: {the key of a job that cannot be drawn: why}.
        stopped: whether Ctrl-C cut a drawing short.
        parallel: workers that draw; None where this process does it alone.
    """

    def __init__(self, usae: USAE, plan: RenderPlan, out: Path) -> None:
        self.usae, self.plan, self.out, self.manifest = usae, plan, out, Manifest(out)
        self.folders = plan.folders
        self.undrawable, self.stopped = dict[str, str](), False
        self.parallel: ParallelDrawing | None = None
        self._record_written = False  # whether run.json is of this plan
        self._halving_draw = HalvingDraw(draw_together)  # one for all packs, which learns once what does not fit

    def draw_jobs(self, jobs: Sequence[RenderJob], report: ProgressCallback, first: bool) -> list[JobRecord]:
        """Draw jobs of equal settings, and write their files and records; the `first` process writes run.json."""

        def progress(done: int, scores: dict[str, float]) -> None:
            report_steps(report, jobs, done, scores)

        draw = self._halving_draw if self.parallel is None else self.parallel.draw_of(jobs)
        records, remaining = list[JobRecord](), list(jobs)
        while remaining:
            objectives = [job.objective for job in remaining]
            try:
                for result in maximize_each(self.usae, objectives, jobs[0].settings, progress, draw=draw):
                    if first and not self._record_written:
                        self.write_record()
                    records.append(self.write_job(remaining.pop(0), result))
                break  # after one that was stopped, the others are not started
            except InvalidImageScore as error:  # of the first without a result; the others are still drawn
                self.undrawable[remaining.pop(0).key] = str(error)
        return records

    def write_job(self, job: RenderJob, result: Result) -> JobRecord:
        """Write a job's pictures and animations, then its record."""
        folder, files = self.out / job.folder, {}
        by_image = {} if result.scores is None else result.scores.as_dict()["images"]
        for image, (name, canvas) in zip(job.names, result.images.items(), strict=True):
            metadata = {**result.metadata(image), "variant": job.variant, "code_sha256": job.code}
            if job.code is not None and job.objective.numbers:  # the text of any other objective contains them
                metadata["numbers"] = job.objective.numbers
            metadata["scores"] = by_image.get(name)
            files[f"{image}.png"] = folder / f"{image}.png"
            alpha = result.alpha[name] if result.settings.alpha else None
            write_png(files[f"{image}.png"], canvas, metadata, alpha)
            for animation in self.plan.animations if result.frames else ():
                files[f"{image}.{animation}"] = folder / f"{image}.{animation}"
                write_frames(files[f"{image}.{animation}"], result.frames[name])
        return self.manifest.add(job, result, files)

    def complete(self, folder: str) -> bool:
        """Whether all that can be drawn for a folder is there, by any process, and none of it was stopped."""
        possible = (job for job in reversed(self.folders[folder]) if job.key not in self.undrawable)
        last_first = map(self.manifest.drawn, possible)  # what is missing is near the end
        return all(record is not None and not record.stopped for record in last_first)

    def assemble(self, folder: str, anew: bool = False) -> ObjectiveResult:
        """Make a folder's sheet and scores of what is drawn, unless they are up to date (with `anew`, always)."""
        jobs = self.folders[folder]
        records = [(job, record) for job in jobs if (record := self.manifest.drawn(job)) is not None]
        scores = scores_of([record for _, record in records], jobs[0].settings.verdict)
        table = None if scores is None else {**scores.as_dict(), "drawings": _summaries(records)}
        file = self.out / folder / "scores.json"
        anew = anew or (table is not None and json_text(table) != json_text(read_object_or_empty(file)))
        if self.plan.sheet and records:
            self._write_sheet(folder, records, scores, anew)
        if table is not None and anew:  # after the sheet, which is made again as long as this file differs
            write_json(file, table)
        return self._result(folder, [record for _, record in records], scores)

    def finish(self) -> list[ObjectiveResult]:
        """The run's record, and every folder that has pictures, or should have."""
        results = [each for each in map(self.assemble, self.folders) if each.images or each.failed]
        if any(each.images for each in results):
            self.write_record([each.scores for each in results if each.scores is not None])
        return results

    def write_record(self, scores: Sequence[Scores] = ()) -> None:
        """Write run.json, unless it says the same already; with the scores of all folders, when they are there."""
        jobs = self.plan.jobs
        drawn_with = dict.fromkeys((job.variant, job.settings) for job in jobs)
        objectives = list({str(job.objective): job.objective for job in jobs}.values())
        record = run_record(self.usae, objectives, [settings for _, settings in drawn_with])
        record["variants"] = [variant for variant, _ in drawn_with]
        record["recipe"] = self.plan.recipe
        record["verdicts"] = count_verdicts(scores)
        record["pictures"] = pictures_by_folder((job.folder, job.names) for job in jobs)
        write_run_record(self.out, record)
        self._record_written = True

    def _result(self, folder: str, records: Sequence[JobRecord], scores: Scores | None) -> ObjectiveResult:
        jobs = self.folders[folder]
        by_weight = sorted(records, key=lambda record: not record.cut_short)  # before one that only settled early
        ended = next((record.ended for record in by_weight if record.ended is not None), None)
        stopped, failed = (any(getattr(record, kind) for record in records) for kind in ("stopped", "failed"))
        if reasons := [self.undrawable[job.key] for job in jobs if job.key in self.undrawable]:
            ended, failed = reasons[0], True
        images = tuple(name for record in records for name in record.names)
        return ObjectiveResult(str(jobs[0].objective), self.out / folder, images, scores, ended, stopped, failed)

    def _write_sheet(
        self, folder: str, records: Sequence[tuple[RenderJob, JobRecord]], scores: Scores | None, anew: bool
    ) -> None:
        """Write a folder's sheet, unless the existing one has the same description."""
        file, jobs, natural = self.out / folder / SHEET, self.folders[folder], self.usae.natural
        settings = {job.variant: job.settings for job, _ in records}
        title = title_with_edits(records[0][0].title, self.usae, settings)
        description = {
            "sheet": _summaries(records),
            "title": title,
            "thresholds": jobs[0].settings.verdict.model_dump(),
            "images": None if natural is None else natural.source.fingerprint(),
            "statistics": statistics_hash(self.usae),
        }
        if anew or _sheet_of(file, description) != description:
            metadata = {**description, **provenance(self.usae, [job.settings for job in jobs])}
            save_png(file, self._sheet(title, records, scores), metadata)

    def _sheet(self, title: str, records: Sequence[tuple[RenderJob, JobRecord]], scores: Scores | None) -> Image.Image:
        images, rows = {}, dict[Any, list[str]]()
        many = sum(len(record.names) for _, record in records) > MAX_IN_A_ROW
        for job, record in records:
            row = job.variant if job.variant is not None else (job.key if many else None)
            for name in record.names:
                images[name] = read_pixels(self.out / job.folder / f"{name}.png").convert("RGB")
                rows.setdefault(row, []).append(name)
        table: list[Sequence[str]] = list(rows.values())
        if len(table) > 1 and all(len(row) == 1 for row in table):
            table = side_by_side(list(images))
        first, _ = records[0]
        concept = shown_concept(first.objective, first.settings)
        patches = {} if concept is None else top_patch_pictures(self.usae, concept)
        pictures, size = first.settings.given_pictures, first.settings.size
        assert size is not None
        given_picture = read_picture(path_of_name(next(iter(reversed(pictures.values())))), size) if pictures else None
        return sheet(title, images, scores, patches, given_picture, table)


def _summaries(records: Sequence[tuple[RenderJob, JobRecord]]) -> list[dict[str, Any]]:
    """What a sheet and scores.json say of each drawing of their folder."""
    return [
        {
            "key": job.key,
            "variant": job.variant,
            "mode": job.settings.mode,
            "seed": job.settings.seed,
            "ended": record.ended,
            "images": record.names,
        }
        for job, record in records
    ]


def _sheet_of(file: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """What a sheet says of itself, under the keys that are written now.

    A sheet from before 0.6 does not name the statistics: it is taken to be by the present ones. One that is cut off
    or damaged shows nothing.
    """
    try:
        inside = read_png(file)
        check_whole(file)
    except UsageError:
        return {}
    return {"statistics": description["statistics"]} | {key: inside[key] for key in description if key in inside}
