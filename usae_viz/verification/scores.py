"""What the verification says: image x backbone, with a verdict each; as a table, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from rich.table import Table as RichTable
from torch import Tensor
from torch.nn import functional

from usae_train.runtime.printing import table_as_text
from usae_train.runtime.tables import Table, as_html
from usae_train.runtime.warning_kinds import FormerName
from usae_viz.verification.score import DEFAULT_THRESHOLDS, ClassScore, Score
from usae_viz.verification.tables import heat_map, rich_table
from usae_viz.verification.verdict import VERDICTS, Verdict, VerdictSettings, worst

SEED_SUFFIX = re.compile(r"-seed-\d+$")  # what tells pictures of one kind apart
VERDICT_STYLE: dict[Verdict, str] = {"strong": "green", "weak": "yellow", "failed": "bold red"}


@dataclass(frozen=True)
class Scores:
    """Image x backbone: `scores[image][backbone]` is a `Score`, or a `ClassScore` where the picture is of a class."""

    concept: int | None  # None for pictures of a class
    table: Mapping[str, Mapping[str, Score | ClassScore]]
    drawn_for: Mapping[str, tuple[str, ...]]  # {image: the backbones it was drawn for}
    signatures: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict, repr=False)  # mean codes (n_concepts,)
    thresholds: VerdictSettings = DEFAULT_THRESHOLDS

    def __getitem__(self, image: str) -> Mapping[str, Score | ClassScore]:
        return self.table[image]

    @property
    def subject(self) -> str:
        """What the pictures were scored for."""
        if self.concept is not None:
            return f"concept {self.concept}"
        classes = {
            (score.index, score.name)
            for row in self.table.values()
            for score in row.values()
            if isinstance(score, ClassScore)
        }
        return " and ".join(f"class {index}" + (f", {name}" if name else "") for index, name in sorted(classes))

    def verdict(self, image: str, backbone: str | None = None) -> Verdict:
        """`strong`, `weak` or `failed`, in one backbone; by default, in the worst of those it was drawn for."""
        if backbone is not None:
            return self.table[image][backbone].judge(self.thresholds)[0]
        return worst(self.verdict(image, name) for name in self.drawn_for[image])

    def weakest(self, image: str) -> str:
        """Of the backbones that a picture was drawn for, the one with the worst verdict; of equals the weakest.

        Among failed pictures of a concept the smallest share of tokens decides: a large code in a few would hide it.
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
    def seed_agreement(self) -> dict[str, float]:
        """How alike pictures from different seeds are: {image without its seed: mean cosine of their mean codes}.

        Through the backbones that they were drawn for; empty with one seed.
        """
        kinds: dict[str, list[str]] = {}
        for image in self.signatures:
            kinds.setdefault(SEED_SUFFIX.sub("", image), []).append(image)
        cosines = {}
        for kind, images in kinds.items():
            if len(images) > 1:
                through = [[self.signatures[image][name] for image in images] for name in self.drawn_for[images[0]]]
                cosines[kind] = sum(map(_mean_cosine, through)) / len(through)
        return cosines

    agreement = FormerName("seed_agreement")

    def as_dict(self) -> dict[str, Any]:
        """What scores.json holds."""
        images = {
            image: {
                "verdict": self.verdict(image),
                "fired": self.fired(image),
                "drawn_for": list(self.drawn_for[image]),
                "backbones": {
                    name: {**vars(score), "fires": score.fires, "verdict": self.verdict(image, name)}
                    for name, score in row.items()
                },
            }
            for image, row in self.table.items()
        }
        return {
            "concept": self.concept,
            "subject": self.subject,
            "images": images,
            "agreement": self.seed_agreement,
            "thresholds": self.thresholds.model_dump(),
        }

    def in_words(self, image: str) -> str:
        """A picture's verdict, and what it lacks, in the backbone where it is worst."""
        backbone = self.weakest(image)
        verdict, reasons = self.table[image][backbone].judge(self.thresholds)
        where = f" in {backbone}" if reasons and len(self.drawn_for[image]) > 1 else ""
        word = verdict.upper() if verdict == "failed" else verdict
        return f"{word}{where}" + (f": {', '.join(reasons)}" if reasons else "")

    def heat_map(self) -> Image.Image:
        """Image x backbone, the strength in each cell; a frame marks the backbones that a picture was drawn for."""
        rows = {f"{image} ({self.verdict(image)})": row for image, row in self.table.items()}
        strengths = {label: {name: score.strength for name, score in row.items()} for label, row in rows.items()}
        framed_cells = [(number, name) for number, image in enumerate(self.table) for name in self.drawn_for[image]]
        what = "probability" if self.concept is None else "code after TopK"
        return heat_map(f"{self.subject}: {what}", strengths, self._backbones, framed_cells)

    def _in_order(self, image: str) -> Sequence[str]:
        """The backbones that a picture was drawn for, from the best to the worst."""

        def badness(backbone: str) -> tuple[bool, bool, float]:
            score = self.table[image][backbone]
            verdict, _ = score.judge(self.thresholds)
            least = score.share if verdict == "failed" and isinstance(score, Score) else score.strength
            return verdict != "strong", verdict == "failed", -least

        return sorted(self.drawn_for[image], key=badness)

    @property
    def _backbones(self) -> list[str]:
        """All that looked at any of the pictures."""
        return list(dict.fromkeys(name for row in self.table.values() for name in row))

    @property
    def _cells(self) -> Table:
        """Every picture through every backbone, with its verdict and what it lacks for a better one."""
        names = self._backbones
        rows = [
            (image, *(row[name].cell() if name in row else "" for name in names), self.in_words(image))
            for image, row in self.table.items()
        ]
        columns = ("image", *(f"through {name}" for name in names), "verdict")
        return Table(f"{self.subject}, under views that the pictures were not optimized on", columns, rows)

    @property
    def _caption(self) -> list[str]:
        """What a cell's figures are, the levels of chance, the figures from closer, and whether the seeds agree."""
        lines = ["probability, #rank among the classes (and the class it is read as instead)"]
        if self.concept is not None:
            lines = ["code after TopK, #rank among concepts, share of tokens that fire, p: percentile of natural"]
        lines += [line for line in (self._chance, self._closer) if line]
        if self.seed_agreement:
            alike = ", ".join(f"{kind} {cosine:.2f}" for kind, cosine in self.seed_agreement.items())
            lines.append(f"agreement over seeds (cosine of mean codes): {alike}")
        return lines

    @property
    def _chance(self) -> str:
        scores = [score for row in self.table.values() for score in row.values()]
        levels = {
            "random other concepts": [s.others for s in scores if isinstance(s, Score) and s.others is not None],
            "pictures of noise": [score.noise for score in scores if score.noise is not None],
        }
        parts = [f"{name} {sum(values) / len(values):.2f}" for name, values in levels.items() if values]
        return f"chance: {', '.join(parts)}" if parts else ""

    @property
    def _closer(self) -> str:
        """The mean, over the pictures and their own backbones, of the figure in views of a part of the side."""
        closer: dict[str, list[float]] = {}
        for image, row in self.table.items():
            for name in self.drawn_for[image]:
                for share, value in row[name].closer.items():
                    closer.setdefault(share, []).append(value)
        parts = ", ".join(f"of {share} of the side {sum(each) / len(each):.2f}" for share, each in closer.items())
        return f"from closer, in its own backbone, mean: views {parts}" if parts else ""

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return table_as_text(self.__rich__(), 120)

    def _repr_html_(self) -> str:
        return self._cells.html() + as_html(self._caption)

    def __rich__(self) -> RichTable:
        return rich_table(self._cells, [VERDICT_STYLE[self.verdict(image)] for image in self.table], self._caption)


def _mean_cosine(codes: Sequence[Tensor]) -> float:
    """The mean cosine over all pairs of vectors (n_concepts,); that of a zero vector and any other is 0.

    The pairs, 80,000 for 400 seeds, are not visited one by one: |sum of unit vectors|² contains each of them twice.
    """
    units = functional.normalize(torch.stack(list(codes)).double(), dim=1)
    pairs = len(units) * (len(units) - 1)
    return ((units.sum(0).square().sum() - units.square().sum()) / pairs).item()


def count_verdicts(scores: Iterable[Scores]) -> dict[Verdict, int]:
    """How many pictures of several objectives have which verdict."""
    verdicts = [each.verdict(image) for each in scores for image in each.table]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}
