"""Run folders, read back: which objective each picture is of, how it was drawn, and what its verification says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from usae_train.files.json_files import read_object, validate
from usae_train.files.place_names import name_as_utf8
from usae_train.files.whole_numbers import DIGITS
from usae_train.runtime.errors import UsageError
from usae_viz.export.png import check_whole
from usae_viz.export.run_record import RUN_SCHEMA
from usae_viz.export.sheet import SHEET
from usae_viz.runs.metadata import ImageMetadata, read_metadata
from usae_viz.runs.places import NOT_PICTURES
from usae_viz.settings import SHARED
from usae_viz.verification.score import DEFAULT_THRESHOLDS
from usae_viz.verification.scores import SEED_SUFFIX
from usae_viz.verification.verdict import Verdict, VerdictSettings

CONCEPT = re.compile(r"concept-(\d{5,})")  # a folder's name
SEED_AGREEMENT = TypeAdapter(dict[str, float])  # of a concept's images: {kind: cosine}
ANIMATIONS = (".mp4", ".gif")
Validated = TypeVar("Validated")


@dataclass(frozen=True)
class RenderedImage:
    """One PNG of a run."""

    file: Path
    path_in_run: str  # from the run's folder, without .png
    metadata: ImageMetadata
    animation: Path | None
    thresholds: VerdictSettings = DEFAULT_THRESHOLDS  # of its folder's last verdicts

    @property
    def verdict(self) -> Verdict | None:
        """`strong`, `weak` or `failed`; None for a picture that was not verified."""
        return None if self.metadata.scores is None else self.metadata.scores.verdict(self.thresholds)

    @property
    def name(self) -> str:
        """Of the file, without .png."""
        return self.file.stem

    @property
    def mode(self) -> str:
        """`per-model`, `shared` or `coupled`."""
        return str(self.metadata.settings.get("mode", "per-model"))

    @property
    def seed(self) -> int:
        """The seed it was drawn with."""
        match = SEED_SUFFIX.search(self.name)
        seed = match.group().rpartition("-")[2] if match else self.metadata.settings.get("seed", 0)
        return int(seed) if str(seed).isdecimal() and len(str(seed)) <= DIGITS else 0

    @property
    def backbone(self) -> str:
        """The backbone it was drawn for, or `shared`."""
        scores = self.metadata.scores
        if self.mode == SHARED or (scores is not None and len(scores.drawn_for) != 1):
            return SHARED
        if scores is not None:
            return scores.drawn_for[0]
        return SEED_SUFFIX.sub("", self.name).removeprefix(f"{self.metadata.variant}-").removeprefix(f"{self.mode}-")


@dataclass(frozen=True)
class RenderedObjective:
    """The pictures in one folder of a run: of a concept, or of another objective."""

    folder: Path
    objective: str
    pictures: list[RenderedImage]
    seed_agreement: dict[str, float]  # over seeds, {picture: mean cosine}

    @property
    def concept(self) -> int | None:
        """The concept; None for another objective."""
        match = CONCEPT.fullmatch(self.folder.name)
        return int(match.group(1)) if match else None

    @property
    def key(self) -> str:
        """What it has in common with the same objective in another run."""
        return self.objective if self.concept is None else f"Concept({self.concept})"


@dataclass(frozen=True)
class RunFolder:
    """A run folder."""

    folder: Path
    usae: str | None
    usae_sha256: str | None
    objectives: list[RenderedObjective]
    unreadable: list[str]  # PNGs that could not be read, each with why

    @property
    def name(self) -> str:
        """What the page calls it."""
        return name_as_utf8(self.folder.resolve().name)


def read_run(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        ValueError: for a folder that is not a run's, whose record is broken, or that has no pictures.
    """
    file = folder / "run.json"
    try:
        record = read_object(file)
    except UsageError as error:
        raise UsageError(f"{file} is not a readable run record: {error}; draw the run again") from error
    if record.get("schema") != RUN_SCHEMA:
        raise UsageError(
            f"{file} is not a run record of schema {RUN_SCHEMA}; install a matching usae version, or draw it again"
        )
    unreadable: list[str] = []
    by_folder: dict[Path, list[RenderedImage]] = {}
    for picture in _pictures(folder, unreadable):
        by_folder.setdefault(picture.file.parent, []).append(picture)
    if not by_folder:
        why = f"; the first that cannot be read: {unreadable[0]}" if unreadable else ""
        raise UsageError(f"{folder} has no pictures in it{why}; draw some with usae-viz maximize or render")
    objectives = [
        RenderedObjective(inside, pictures[0].metadata.objective, pictures, _seed_agreement(inside))
        for inside, pictures in by_folder.items()
    ]
    usae, sha256 = record.get("usae"), record.get("usae_sha256")
    return RunFolder(folder, str(usae) if usae else None, str(sha256) if sha256 else None, objectives, unreadable)


def _pictures(folder: Path, unreadable: list[str]) -> Iterator[RenderedImage]:
    for file in sorted(folder.rglob("*.png")):
        inner = file.relative_to(folder).parts
        if inner[0] in NOT_PICTURES or len(inner) < 2 or file.name == SHEET or any(p.startswith(".") for p in inner):
            continue
        try:
            metadata = read_metadata(file)
            check_whole(file)
        except UsageError as error:
            unreadable.append(str(error))
            continue
        thresholds = _of_scores(file.parent, "thresholds", VerdictSettings.model_validate) or metadata.thresholds
        moving = (file.with_suffix(ending) for ending in ANIMATIONS)
        path_in_run = file.relative_to(folder).with_suffix("").as_posix()
        animation = next((film for film in moving if film.is_file()), None)
        yield RenderedImage(file, path_in_run, metadata, animation, thresholds)


def _seed_agreement(folder: Path) -> dict[str, float]:
    return _of_scores(folder, "agreement", SEED_AGREEMENT.validate_python) or {}


def _of_scores(folder: Path, key: str, check: Callable[[Any], Validated]) -> Validated | None:
    """What a folder's scores.json says under a key; None where it says nothing that can be read.

    Its verdicts are newer than its PNGs', when a recipe's thresholds were changed.
    """
    try:
        return validate(check, read_object(folder / "scores.json").get(key))
    except UsageError:
        return None
