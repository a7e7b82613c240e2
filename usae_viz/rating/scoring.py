"""Raters' answers against chance."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from scipy.stats import binomtest

from usae_train.files.binary import binary_kind
from usae_train.files.json_files import read_object, validate
from usae_train.files.regular import check_regular
from usae_train.files.whole_numbers import DIGITS
from usae_train.runtime.errors import UsageError
from usae_viz.rating.settings import CONTROL, KEY_SCHEMA
from usae_viz.verification.verdict import VERDICTS, Verdict

MAX_BYTES = 10_000_000  # of an answers file: a thousand questions have 50,000
ANSWER_COLUMNS = ("study", "rater", "trial", "choice", "seconds")


@dataclass(frozen=True)
class GroupOutcome:
    """How often a group of questions was answered rightly."""

    group: str
    answered: int
    right: int
    chance: float  # share that guessing gets right
    low: float  # 95% interval of the share (Wilson 1927)
    high: float
    p: float  # of at least as many by guessing (binomial, one-sided)

    @property
    def share(self) -> float:
        """Answered rightly."""
        return self.right / self.answered

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "share": self.share}


class Question(BaseModel):
    """What scoring needs of a question."""

    condition: str
    answer: int
    verdict: Verdict | None = None


class StudyKey(BaseModel):
    """What scoring needs of key.json."""

    study: str
    choices: int = Field(ge=2)
    trials: list[Question]


@dataclass(frozen=True)
class RaterAnswer:
    """A row of a rater's CSV."""

    rater: str
    trial: int  # 0 is the first
    choice: int


def score_answers(study: Path, answers: Sequence[Path]) -> list[GroupOutcome]:
    """Score answers, CSV files that the page exported, to the study that `usae-viz rate` wrote into a folder.

    Over all, by condition, and by verdict and by rater when there are several. The test takes answers as independent.
    Those of several raters to the same questions are so only given the questions: with few concepts, look at the raters
    one by one.

    Raises:
        ValueError: for a folder that is not a study, or answers that are not to it; says file and line.
    """
    key = _read_key(study)
    rated = [answer for file in answers for answer in read_answers(file, key)]
    answered_questions: set[tuple[str, int]] = set()
    for answer in rated:
        if (answer.rater, answer.trial) in answered_questions:
            raise UsageError(
                f"{answer.rater!r} answered question {answer.trial + 1} twice; give each rater's file once"
            )
        answered_questions.add((answer.rater, answer.trial))
    if not rated:
        raise UsageError(f"no answers in {', '.join(map(str, answers))}")
    trials = key.trials
    drawn_answers = [answer for answer in rated if trials[answer.trial].condition != CONTROL]
    groups = {"all drawn pictures": drawn_answers}
    for condition in sorted({trials[answer.trial].condition for answer in rated}):
        name = "top-activating patches (control)" if condition == CONTROL else condition
        groups[name] = [answer for answer in rated if trials[answer.trial].condition == condition]
    by_verdict = {f"drawn, {v}": [each for each in drawn_answers if trials[each.trial].verdict == v] for v in VERDICTS}
    by_verdict = {name: group for name, group in by_verdict.items() if group}
    groups |= by_verdict if len(by_verdict) > 1 else {}  # do people agree with the verification?
    raters = sorted({answer.rater for answer in rated})
    by_rater = {f"drawn, rater {rater}": [each for each in drawn_answers if each.rater == rater] for rater in raters}
    groups |= by_rater if len(raters) > 1 else {}
    return [_outcome(name, group, key) for name, group in groups.items() if group]


def read_answers(file: Path, key: StudyKey) -> list[RaterAnswer]:
    """The rows of one CSV.

    Raises:
        ValueError: for a file that cannot be read or is of another kind, or answers to another study; says the line.
    """
    check_regular(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if (kind := binary_kind(content)) is not None:
            raise UsageError(f"{file} is {kind}; expected a rater's answers, a CSV file")
        if len(content) > MAX_BYTES:
            raise UsageError(f"{file} is larger than {MAX_BYTES // 1_000_000} MB; expected a rater's answers")
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if not rows or tuple(rows[0]) != ANSWER_COLUMNS:
        raise UsageError(f"{file} is not an answers file: its first line is not {','.join(ANSWER_COLUMNS)}")
    return [_answer(file, line, row, key) for line, row in enumerate(rows[1:], 2) if row]


def _answer(file: Path, line: int, row: list[str], key: StudyKey) -> RaterAnswer:
    if len(row) != len(ANSWER_COLUMNS):
        raise UsageError(f"{file}:{line}: {len(row)} values; expected {','.join(ANSWER_COLUMNS)}")
    study, rater, trial, choice, _ = row
    if study != key.study:
        raise UsageError(f"{file}:{line}: an answer to study {study!r}; this one is {key.study}")
    for name, value, largest in (("trial", trial, len(key.trials)), ("choice", choice, key.choices)):
        if not value.isdecimal() or len(value) > DIGITS or not 1 <= int(value) <= largest:
            raise UsageError(f"{file}:{line}: {name} {value[:DIGITS]!r}; expected 1 to {largest}")
    return RaterAnswer(rater, int(trial) - 1, int(choice))


def _read_key(study: Path) -> StudyKey:
    file = study / "key.json"
    try:
        content = read_object(file)
    except UsageError as error:
        raise UsageError(
            f"{study} is not a study: {file} cannot be read ({error}); expected what usae-viz rate wrote"
        ) from error
    if content.get("schema") != KEY_SCHEMA:
        raise UsageError(f"{file} has another schema than {KEY_SCHEMA}; install a matching usae version")
    try:
        return validate(StudyKey.model_validate, content)
    except UsageError as error:
        raise UsageError(f"{file}: {error}; expected what usae-viz rate wrote") from error


def _outcome(group: str, answers: Sequence[RaterAnswer], key: StudyKey) -> GroupOutcome:
    right = sum(answer.choice == key.trials[answer.trial].answer for answer in answers)
    chance = 1 / key.choices
    test = binomtest(right, len(answers), chance, alternative="greater")
    interval = binomtest(right, len(answers), chance).proportion_ci(method="wilson")
    return GroupOutcome(
        group, len(answers), right, chance, float(interval.low), float(interval.high), float(test.pvalue)
    )
