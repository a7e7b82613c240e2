"""What of a run is finished: a record per job, by the key of its content, written after its files.

Only a record makes a job count: files without one are drawn again, and a record whose files are gone or have changed
is ignored. So a run can be killed at any moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from usae_train.files.atomic import check_file, write_atomically
from usae_train.files.json_files import read_object, validate
from usae_train.files.locks import acquire_lock
from usae_train.files.placing import place_of
from usae_train.files.provenance import file_hash
from usae_train.files.validation import FrozenModel
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.export.png import png_with, rewrite_png
from usae_viz.optimization.result import Result
from usae_viz.runs.plan import RenderJob
from usae_viz.verification.concepts import percentile_of
from usae_viz.verification.score import read_score
from usae_viz.verification.scores import Scores
from usae_viz.verification.verdict import VerdictSettings

CODE_DIGITS = 5  # of mean codes, which are only compared with each other: a record should be smaller than its picture
MAX_CONCEPTS = 2**24  # the paper's space has 6144
MeanCodes = dict[str, dict[str, dict[str, list[float]]]]  # {image: {backbone: {"index": [...], "value": [...]}}}


class JobRecord(FrozenModel):
    """What is kept of one job, enough to make its folder's sheet and scores without drawing it again."""

    schema_version: Literal[1] = 1
    key: str
    names: list[str]
    files: dict[str, str]  # {file: sha256}
    # {file: the sha256 it will have} while files are being rewritten: either hash is valid
    coming: dict[str, str] = Field(default_factory=dict)
    concept: int | None
    scores: dict[str, dict[str, dict[str, Any]]]  # {image: {backbone: Score, or ClassScore without a concept}}
    drawn_for: dict[str, list[str]]
    statistics: str | None = (
        None  # `statistics_hash` of the statistics behind its percentiles; None in a run from before 0.6
    )
    # mean codes where they are not zero, through the backbones that a picture was drawn for
    signatures: MeanCodes = Field(default_factory=dict)
    ended: str | None = None
    cut_short: bool = False
    failed: bool = False

    @model_validator(mode="after")
    def _of_its_pictures(self) -> JobRecord:
        """Whether a sheet and scores can be made of it: if not it is ignored, and the job is drawn again."""
        tables: dict[str, Mapping[str, Any]] = {
            "scores": self.scores,
            "drawn_for": self.drawn_for,
            "signatures": self.signatures,
        }
        for part, rows in tables.items():
            if not rows.keys() <= set(self.names):
                raise UsageError(f"{part} of other pictures than {', '.join(self.names)}")
        if self.scores.keys() != self.drawn_for.keys():
            raise UsageError("scores and drawn_for are of different pictures")
        for image, row in self.scores.items():
            for score in row.values():
                read_score(score)
            if not set(self.drawn_for[image]) <= row.keys():
                raise UsageError(f"{image} has no scores in {', '.join(self.drawn_for[image])}")
        for codes in (codes for row in self.signatures.values() for codes in row.values()):
            if codes.keys() != {"index", "value"} or len(codes["index"]) != len(codes["value"]):
                raise UsageError("signatures are not codes")
            if not all(0 <= index < MAX_CONCEPTS and index == int(index) for index in codes["index"]):
                raise UsageError("signatures have indices that are not concepts")
        return self

    @property
    def stopped(self) -> bool:
        """Whether it was Ctrl-C that cut it short."""
        return self.cut_short and not self.failed


class Manifest:
    """The records of a run, in its folder."""

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out / "manifest"

    def read(self, job: RenderJob) -> JobRecord | None:
        """A job's record, if there is one that can be read."""
        for key in (job.key, *job.former_keys):
            with suppress(UsageError):
                record = validate(JobRecord.model_validate, read_object(self.folder / f"{key}.json"))
                fits = record.key == key and len(record.names) == len(job.names)
                if fits and len(set(record.names)) == len(record.names):
                    return record.model_copy(update={"key": job.key})
        return None

    def finished(self, job: RenderJob) -> bool:
        """Whether all files of a job are there as they were written."""
        return self._finished_record(job) is not None

    def forget_damaged(self, job: RenderJob) -> None:
        """Remove a record whose files are gone or have changed: until they are drawn again, no sheet may use them."""
        record = self.read(job)
        if record is not None and not self._holds(job, record):
            for key in (job.key, *job.former_keys):
                (self.folder / f"{key}.json").unlink(missing_ok=True)

    def drawn(self, job: RenderJob) -> JobRecord | None:
        """A job's record, if files of its names are there, whatever they now contain."""
        record, folder = self.read(job), self.out / job.folder
        if record is None or record.names != list(job.names):
            return None
        return record if all((folder / name).is_file() for name in record.files) else None

    def add(self, job: RenderJob, result: Result, files: Mapping[str, Path]) -> JobRecord:
        """Keep what a job came to, after its files were written."""
        record = JobRecord(
            key=job.key,
            names=list(job.names),
            files={name: file_hash(file) for name, file in files.items()},
            concept=None if result.scores is None else result.scores.concept,
            statistics=statistics_hash(result.usae),
            **_scores_by_file(job, result),
            ended=result.ended,
            cut_short=result.cut_short,
            failed=result.failed,
        )
        self._write(job, record)
        return record

    def adopt(self, jobs: Sequence[RenderJob]) -> list[int]:
        """Give finished files the names that a changed recipe has for them; the numbers of the jobs that have any.

        Names that are exchanged do not overwrite each other: a file that is where another belongs is first renamed
        after its job's key.
        """
        whole = {
            number: record for number, job in enumerate(jobs) if (record := self._finished_record(job)) is not None
        }
        moved_jobs = [number for number, record in whole.items() if record.names != list(jobs[number].names)]
        targets = {(jobs[number].folder, name) for number in moved_jobs for name in jobs[number].names}
        for number in moved_jobs:
            job, record = jobs[number], whole[number]
            if any((job.folder, name) in targets for name in record.names):
                aside = [f"{job.key}-{place}" for place in range(len(record.names))]
                whole[number] = self._rename(job, record, aside)
        for number in moved_jobs:
            self._rename(jobs[number], whole[number], list(jobs[number].names))
        return list(whole)

    def _rename(self, job: RenderJob, record: JobRecord, names: list[str]) -> JobRecord:
        """Give a finished job's files other names; returns its new record.

        The new files stand before the record says so, and the old ones go last.
        """
        folder, renamed = self.out / job.folder, dict(zip(record.names, names, strict=True))
        files = {}
        for old in record.files:
            stem, ending = old.rsplit(".", 1)
            new = f"{renamed[stem]}.{ending}"
            if ending == "png":
                rewrite_png(folder / old, folder / new, {"picture": renamed[stem], "variant": job.variant})
            else:
                write_atomically(folder / new, (folder / old).read_bytes())
            files[new] = file_hash(folder / new)
        new_record = record.model_copy(
            update={
                "names": names,
                "files": files,
                "coming": {},
                "scores": {renamed[name]: row for name, row in record.scores.items()},
                "drawn_for": {renamed[name]: names for name, names in record.drawn_for.items()},
                "signatures": {renamed[name]: row for name, row in record.signatures.items()},
            }
        )
        self._write(job, new_record)
        for old in set(record.files) - set(files):
            (folder / old).unlink(missing_ok=True)
        return new_record

    def measure_again(self, job: RenderJob, usae: USAE, now: str | None) -> None:
        """Give a finished job's percentiles by the statistics of `now`, a `statistics_hash`, where they are by others.

        No pixel changes: the text inside its PNGs is written again, and then its record. Before the first of them the
        record lists their new hashes, so that the job still counts as finished wherever this is stopped.
        """
        record = self.read(job)
        if record is None or record.statistics == now:
            return
        updated = record.model_copy(update={"statistics": now, "scores": _by_statistics(record, usae)})
        if updated.scores != record.scores:
            folder, scores = self.out / job.folder, scores_of([updated], job.settings.verdict)
            rows = {} if scores is None else scores.as_dict()["images"]
            contents = {f"{name}.png": png_with(folder / f"{name}.png", {"scores": row}) for name, row in rows.items()}
            coming = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
            files = {name: file_hash(folder / name) for name in record.files}
            self._write(job, record.model_copy(update={"files": files, "coming": coming}))
            for name, content in contents.items():
                write_atomically(folder / name, content)
            updated = updated.model_copy(update={"files": files | coming})
        self._write(job, updated.model_copy(update={"coming": {}}))

    def _finished_record(self, job: RenderJob) -> JobRecord | None:
        """A job's record, if it was drawn to its end and all files are there as they were written."""
        record = self.read(job)
        return record if record is not None and not record.cut_short and self._holds(job, record) else None

    def _write(self, job: RenderJob, record: JobRecord) -> None:
        text = record.model_dump_json(exclude=None if record.coming else {"coming"})
        write_atomically(self._file(job), text + "\n")

    def _file(self, job: RenderJob) -> Path:
        return self.folder / f"{job.key}.json"

    def _holds(self, job: RenderJob, record: JobRecord) -> bool:
        folder = self.out / job.folder
        if any("/" in name or "\\" in name for name in record.files) or not record.files:
            return False
        try:
            hashes = {name: file_hash(folder / name) for name in record.files}
        except OSError:
            return False
        return all(sha256 in (record.files[name], record.coming.get(name)) for name, sha256 in hashes.items())


def scores_of(records: list[JobRecord], thresholds: VerdictSettings) -> Scores | None:
    """The verification of all pictures of some records of one concept or class, with new verdicts."""
    records = [record for record in records if record.scores]
    if not records:
        return None
    table = {
        image: {backbone: read_score(score) for backbone, score in row.items()}
        for record in records
        for image, row in record.scores.items()
    }
    drawn_for = {image: tuple(names) for record in records for image, names in record.drawn_for.items()}
    size = 1 + max(
        (int(i) for r in records for row in r.signatures.values() for c in row.values() for i in c["index"]), default=0
    )
    signatures = {
        image: {backbone: _dense(codes, size) for backbone, codes in row.items()}
        for record in records
        for image, row in record.signatures.items()
    }
    return Scores(records[0].concept, table, drawn_for, signatures, thresholds)


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Hold a run's folder, so that no other process writes into it; what stays empty goes afterwards.

    Raises:
        ValueError: when it cannot be written, or another process holds it.
    """
    check_file(out / "run.json")
    out = place_of(out)
    folder, missing = out / "manifest", [parent for parent in (out, *out.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    lock = acquire_lock(
        folder / "lock",
        f"{out} is in use by another process; wait until it is done, or choose another place with --out",
    )
    for depth in ("", "*/"):  # left by a process that was killed while it wrote; we write no deeper
        for leftover in out.glob(f"{depth}.*.[0-9]*.part"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # nothing was written: remove what was made
            if {file.name for file in folder.iterdir()} <= {"lock"}:
                (folder / "lock").unlink(missing_ok=True)
                for empty in (folder, *missing):
                    empty.rmdir()
        lock.release()


def statistics_hash(usae: USAE) -> str | None:
    """A hash of what percentiles and top-activating patches are taken from; None for a USAE without statistics."""
    statistics = usae.statistics
    if statistics is None:
        return None
    parts = (statistics.quantiles, statistics.top_images, statistics.top_tokens)
    return hashlib.sha256(b"".join(part.cpu().contiguous().numpy().tobytes() for part in parts)).hexdigest()[:32]


def _by_statistics(record: JobRecord, usae: USAE) -> dict[str, dict[str, dict[str, Any]]]:
    """A record's scores with the percentiles of the USAE's present statistics; those of a class have none."""

    def rescored(backbone: str, score: dict[str, Any]) -> dict[str, Any]:
        if record.concept is None or backbone not in usae.names or "percentile" not in score:
            return score
        percentile = percentile_of(usae, usae.names.index(backbone), record.concept, score["code"])
        return {**score, "percentile": percentile}

    return {image: {name: rescored(name, score) for name, score in row.items()} for image, row in record.scores.items()}


def _scores_by_file(job: RenderJob, result: Result) -> dict[str, Any]:
    """The parts of the verification, by the pictures' file names."""
    if result.scores is None:
        return {"scores": {}, "drawn_for": {}}
    files = dict(zip(result.images, job.names, strict=True))
    scores = result.scores
    return {
        "scores": {files[name]: {b: asdict(score) for b, score in row.items()} for name, row in scores.table.items()},
        "drawn_for": {files[name]: list(names) for name, names in scores.drawn_for.items()},
        "signatures": {
            files[name]: {backbone: _sparse(codes[backbone]) for backbone in scores.drawn_for[name]}
            for name, codes in scores.signatures.items()
        },
    }


def _sparse(codes: torch.Tensor) -> dict[str, list[float]]:  # of (n_concepts,)
    (index,) = codes.nonzero(as_tuple=True)
    return {"index": index.tolist(), "value": [round(value, CODE_DIGITS) for value in codes[index].tolist()]}


def _dense(codes: Mapping[str, list[float]], size: int) -> torch.Tensor:
    dense = torch.zeros(size)
    dense[torch.tensor(codes["index"], dtype=torch.long)] = torch.tensor(codes["value"])
    return dense
