"""What the verification says of one picture through one backbone: its figures, and the verdict on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from usae_train.files.json_files import validate
from usae_train.runtime.warning_kinds import FormerName
from usae_viz.verification.verdict import Verdict, VerdictSettings

DEFAULT_THRESHOLDS = VerdictSettings()


class _ScoreBase:
    """What both kinds of scores have."""

    def judge(self, thresholds: VerdictSettings = DEFAULT_THRESHOLDS) -> tuple[Verdict, list[str]]:
        """The verdict, and in words what is in the way of a better one."""
        raise NotImplementedError

    lacks = FormerName("judge")


@dataclass(frozen=True)
class Score(_ScoreBase):
    """One concept in one picture through one backbone, over views that the picture was not optimized on."""

    code: float  # mean over views of the largest code after TopK
    rank: int  # of the concept by its mean code, 1 is the strongest of all
    share: float  # of the tokens in which it fires (code > 0.1)
    percentile: float | None = None  # of `code` among the largest codes of natural pictures; None without statistics
    others: float | None = None  # chance: the same figure as `code`, mean over random other concepts in this picture
    noise: float | None = None  # chance: the same figure as `code` in pictures that nothing was optimized in
    closer: Mapping[str, float] = field(default_factory=dict)  # {share of the side: `code` in views of it}

    @property
    def fires(self) -> bool:
        """Whether the concept fires after TopK in at least 5% of the tokens."""
        return self.share >= DEFAULT_THRESHOLDS.share

    @property
    def strength(self) -> float:
        """What pictures are compared by."""
        return self.code

    def judge(self, thresholds: VerdictSettings = DEFAULT_THRESHOLDS) -> tuple[Verdict, list[str]]:
        """The verdict, and in words what is in the way of a better one."""
        if self.share < thresholds.share:
            return "failed", [f"fires in {self.share:.1%} of tokens"]
        if self.noise is not None and self.code <= self.noise:
            return "failed", ["no more than in noise"]
        reasons = []
        if self.rank > thresholds.rank:
            reasons.append(f"rank {self.rank}")
        if self.percentile is not None and self.percentile < thresholds.percentile:
            reasons.append(f"p{_rounded_below(self.percentile, thresholds.percentile)}")
        if self.noise is not None and self.code < thresholds.margin * self.noise:
            reasons.append(f"{_rounded_below(self.code / self.noise, thresholds.margin)} times noise")
        return ("weak" if reasons else "strong"), reasons

    def in_words(self) -> str:
        """Short, for a line under a picture."""
        natural = "" if self.percentile is None else f", p{self.percentile:.1f}"
        return f"code {self.code:.2f}, rank {self.rank}{natural}"

    def cell(self) -> str:
        """Shorter, for a table."""
        natural = "" if self.percentile is None else f" p{self.percentile:.1f}"
        return f"{self.code:.2f} #{self.rank} {self.share:.0%}{natural}"


@dataclass(frozen=True)
class ClassScore(_ScoreBase):
    """One class in one picture through one backbone's classifier, over views that the picture was not optimized on."""

    index: int  # the class
    name: str | None  # what timm calls it; None for a classifier whose classes it does not know
    probability: float  # mean over views
    rank: int  # by its probability, 1 is the most probable of all
    read_as: int  # the most probable class
    read_name: str | None  # its name
    noise: float | None = None  # chance: mean probability in pictures that nothing was optimized in
    closer: Mapping[str, float] = field(default_factory=dict)  # {share of the side: `probability` in views of it}

    @property
    def fires(self) -> bool:
        """Whether it is the most probable class."""
        return self.rank == 1

    @property
    def strength(self) -> float:
        """What pictures are compared by."""
        return self.probability

    def judge(self, thresholds: VerdictSettings = DEFAULT_THRESHOLDS) -> tuple[Verdict, list[str]]:
        """The verdict, and in words what is in the way of a better one."""
        reading = f"read as {self.read_name or f'class {self.read_as}'}"
        if self.rank > thresholds.class_rank:
            return "failed", [reading]
        if self.noise is not None and self.probability <= self.noise:
            return "failed", ["no more than in noise"]
        reasons = [] if self.rank == 1 else [reading]
        if self.probability < thresholds.probability:
            reasons.append(f"probability {_rounded_below(self.probability, thresholds.probability, 2)}")
        if self.noise is not None and self.probability < thresholds.margin * self.noise:
            reasons.append(f"{_rounded_below(self.probability / self.noise, thresholds.margin)} times noise")
        return ("weak" if reasons else "strong"), reasons

    def in_words(self) -> str:
        """Short, for a line under a picture."""
        return f"probability {self.probability:.2f}, rank {self.rank}"

    def cell(self) -> str:
        """Shorter, for a table."""
        other = "" if self.rank == 1 else f" ({self.read_name or self.read_as})"
        return f"{self.probability:.2f} #{self.rank}{other}"


_SCORE_TYPES: tuple[TypeAdapter[Score | ClassScore], ...] = (TypeAdapter(Score), TypeAdapter(ClassScore))


def read_score(values: Mapping[str, Any]) -> Score | ClassScore:
    """A score as our JSON keeps it, of one picture through one backbone; other keys (its verdict) are ignored.

    Raises:
        ValueError: for a figure that is missing or not a number.
    """
    return validate(_SCORE_TYPES["probability" in values].validate_python, values)


def _rounded_below(value: float, enough: float, digits: int = 1) -> str:
    """A figure that is too small, rounded as elsewhere, but never up to what would be enough."""
    rounded = f"{value:.{digits}f}"
    return rounded if float(rounded) < enough else f"{int(value * 10**digits) / 10**digits:.{digits}f}"
