"""What the verification says: image x backbone, with a verdict each, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from usae_train.files.json_files import validated
from usae_viz.verification.verdict import VERDICTS, Verdict, VerdictSettings, worst

if TYPE_CHECKING:
    from rich.table import Table

SEED_SUFFIX = re.compile(r"-seed-\d+$")  # what tells pictures of one kind apart
DEFAULT = VerdictSettings()


@dataclass(frozen=True)
class Score:
    """One concept in one picture through one backbone, over views that the picture was not optimized on."""

    code: float  # mean over views of the largest code after TopK
    rank: int  # of the concept by its mean code, 1 is the strongest of all
    share: float  # of the tokens in which it fires (code > 0.1)
    percentile: float | None = None  # of `code` among the largest codes of natural images; None without statistics
    others: float | None = None  # chance: the same figure as `code`, mean over random other concepts in this picture
    noise: float | None = None  # chance: the same figure as `code` in pictures that nothing was optimized in
    closer: Mapping[str, float] = field(default_factory=dict)  # {share of the side: `code` in views of it}

    @property
    def fires(self) -> bool:
        """Whether the concept fires after TopK in at least 5% of the tokens."""
        return self.share >= DEFAULT.share

    @property
    def strength(self) -> float:
        """What pictures are compared by."""
        return self.code

    def lacks(self, thresholds: VerdictSettings = DEFAULT) -> tuple[Verdict, list[str]]:
        """The verdict, and in words what is in the way of a better one."""
        if self.share < thresholds.share:
            return "failed", [f"fires in {self.share:.1%} of tokens"]
        if self.noise is not None and self.code <= self.noise:
            return "failed", ["no more than in noise"]
        short = []
        if self.rank > thresholds.rank:
            short.append(f"rank {self.rank}")
        if self.percentile is not None and self.percentile < thresholds.percentile:
            short.append(f"p{_less(self.percentile, thresholds.percentile)}")
        if self.noise is not None and self.code < thresholds.margin * self.noise:
            short.append(f"{_less(self.code / self.noise, thresholds.margin)} times noise")
        return ("weak" if short else "strong"), short

    def in_words(self) -> str:
        """Short, for a line under a picture."""
        natural = "" if self.percentile is None else f", p{self.percentile:.1f}"
        return f"code {self.code:.2f}, rank {self.rank}{natural}"

    def cell(self) -> str:
        """Shorter, for a table."""
        natural = "" if self.percentile is None else f" p{self.percentile:.1f}"
        return f"{self.code:.2f} #{self.rank} {self.share:.0%}{natural}"


@dataclass(frozen=True)
class ClassScore:
    """One class in one picture through one backbone's classifier, over views that the picture was not optimized on."""

    index: int  # the class
    name: str | None  # what timm calls it; None for a classifier whose classes it does not know
    probability: float  # mean over views
    rank: int  # by that, 1 is the most probable of all
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

    def lacks(self, thresholds: VerdictSettings = DEFAULT) -> tuple[Verdict, list[str]]:
        """The verdict, and in words what is in the way of a better one."""
        read = f"read as {self.read_name or f'class {self.read_as}'}"
        if self.rank > thresholds.class_rank:
            return "failed", [read]
        if self.noise is not None and self.probability <= self.noise:
            return "failed", ["no more than in noise"]
        short = [] if self.rank == 1 else [read]
        if self.probability < thresholds.probability:
            short.append(f"probability {_less(self.probability, thresholds.probability, 2)}")
        if self.noise is not None and self.probability < thresholds.margin * self.noise:
            short.append(f"{_less(self.probability / self.noise, thresholds.margin)} times noise")
        return ("weak" if short else "strong"), short

    def in_words(self) -> str:
        """Short, for a line under a picture."""
        return f"probability {self.probability:.2f}, rank {self.rank}"

    def cell(self) -> str:
        """Shorter, for a table."""
        other = "" if self.rank == 1 else f" ({self.read_name or self.read_as})"
        return f"{self.probability:.2f} #{self.rank}{other}"


_KEPT: tuple[TypeAdapter[Score | ClassScore], ...] = (TypeAdapter(Score), TypeAdapter(ClassScore))


def read_score(kept: Mapping[str, Any]) -> Score | ClassScore:
    """What JSON of ours keeps of one picture through one backbone; what else it says (its verdict) is left out.

    Raises:
        ValueError: for a figure that is missing, or no number.
    """
    return validated(_KEPT["probability" in kept].validate_python, kept)


@dataclass(frozen=True)
class Scores:
    """Image x backbone: `scores[image][backbone]` is a `Score`, or a `ClassScore` where the picture is of a class."""

    concept: int | None  # None for pictures of a class
    table: Mapping[str, Mapping[str, Score | ClassScore]]
    drawn_for: Mapping[str, tuple[str, ...]]  # {image: the backbones it was drawn for}
    signatures: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict, repr=False)  # mean codes (n_concepts,)
    thresholds: VerdictSettings = DEFAULT

    def __getitem__(self, image: str) -> Mapping[str, Score | ClassScore]:
        return self.table[image]

    @property
    def subject(self) -> str:
        """What the pictures were scored for."""
        if self.concept is not None:
            return f"concept {self.concept}"
        own = {
            (score.index, score.name)
            for row in self.table.values()
            for score in row.values()
            if isinstance(score, ClassScore)
        }
        return " and ".join(f"class {index}" + (f", {name}" if name else "") for index, name in sorted(own))

    def verdict(self, image: str, backbone: str | None = None) -> Verdict:
        """`strong`, `weak` or `failed`, in one backbone; by default, in the worst of those it was drawn for."""
        if backbone is not None:
            return self.table[image][backbone].lacks(self.thresholds)[0]
        return worst(self.verdict(image, name) for name in self.drawn_for[image])

    def weakest(self, image: str) -> str:
        """Of the backbones that a picture was drawn for, the one with the worst verdict; of equals the least strength.

        Where pictures fail by the share of their tokens, the least share counts: a large code in a few denies that.
        """
        return self._in_order(image)[-1]

    def fired(self, image: str) -> bool:
        """Whether a picture fires its concept (or is read as its class) in every backbone that it was drawn for."""
        return all(self.table[image][backbone].fires for backbone in self.drawn_for[image])

    @property
    def failed(self) -> list[str]:
        """The images that have failed."""
        return [image for image in self.table if self.verdict(image) == "failed"]

    @property
    def agreement(self) -> dict[str, float]:
        """How alike pictures from different seeds are: {image without its seed: mean cosine of their mean codes}.

        Through the backbones that they were drawn for; empty with one seed.
        """
        kinds: dict[str, list[str]] = {}
        for image in self.signatures:
            kinds.setdefault(SEED_SUFFIX.sub("", image), []).append(image)
        found = {}
        for kind, images in kinds.items():
            if len(images) > 1:
                through = [[self.signatures[image][name] for image in images] for name in self.drawn_for[images[0]]]
                found[kind] = sum(map(_mean_cosine, through)) / len(through)
        return found

    def as_dict(self) -> dict[str, Any]:
        """What scores.json holds."""
        images = {
            image: {
                "verdict": self.verdict(image),
                "fired": self.fired(image),
                "drawn_for": list(self.drawn_for[image]),
                "backbones": {name: self._one_as_dict(score) for name, score in row.items()},
            }
            for image, row in self.table.items()
        }
        return {
            "concept": self.concept,
            "subject": self.subject,
            "images": images,
            "agreement": self.agreement,
            "thresholds": self.thresholds.model_dump(),
        }

    def heat_map(self) -> Image.Image:
        """Image x backbone, the strength in each cell; a frame marks the backbones that a picture was drawn for."""
        from usae_viz.verification.tables import heat_map

        return heat_map(self)

    def _one_as_dict(self, score: Score | ClassScore) -> dict[str, Any]:
        return {**vars(score), "fires": score.fires, "verdict": score.lacks(self.thresholds)[0]}

    def _in_order(self, image: str) -> Sequence[str]:
        """The backbones that a picture was drawn for, from the best to the worst."""

        def badness(backbone: str) -> tuple[bool, bool, float]:
            score = self.table[image][backbone]
            verdict, _ = score.lacks(self.thresholds)
            least = score.share if verdict == "failed" and isinstance(score, Score) else score.strength
            return verdict != "strong", verdict == "failed", -least

        return sorted(self.drawn_for[image], key=badness)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from usae_viz.verification.tables import html_table

        return html_table(self)

    def __rich__(self) -> Table:
        from usae_viz.verification.tables import rich_table

        return rich_table(self)

    def __str__(self) -> str:
        from usae_train.runtime.printing import table_as_text

        return table_as_text(self.__rich__(), 120)


def _mean_cosine(codes: Sequence[Tensor]) -> float:
    """Of all pairs of some vectors (n_concepts,), of which those that are zero are like none.

    The pairs are not gone through, of which 400 seeds have 80,000: |sum of unit vectors|² has each of them twice.
    """
    units = functional.normalize(torch.stack(list(codes)).double(), dim=1)
    pairs = len(units) * (len(units) - 1)
    return ((units.sum(0).square().sum() - units.square().sum()) / pairs).item()


def counted(scores: Iterable[Scores]) -> dict[Verdict, int]:
    """How many pictures of several objectives have which verdict."""
    given = [each.verdict(image) for each in scores for image in each.table]
    return {verdict: given.count(verdict) for verdict in VERDICTS}


def _less(value: float, enough: float, digits: int = 1) -> str:
    """A figure that is too small, rounded as elsewhere, but never up to what would be enough."""
    rounded = f"{value:.{digits}f}"
    return rounded if float(rounded) < enough else f"{int(value * 10**digits) / 10**digits:.{digits}f}"
