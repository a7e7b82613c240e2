"""Verification: does a finished picture fire its concept, in which backbones, under views it was not optimized on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from usae_train.statistics import TAU
from usae_train.usae import USAE
from usae_viz.augmentations import PRESETS, views
from usae_viz.loop import perceive

VIEWS = 8  # with 32 the codes of six demo pictures, 8 to 12, moved by at most 0.17
UNSEEN_SEED = 0x5EED  # added to the run's seed, so that a run is verified under draws that it did not optimize under
MIN_SHARE = 0.05  # of the tokens; a picture of noise reached 0.03 (the demo's stripes, before they could be drawn)


@dataclass(frozen=True)
class Score:
    """One concept in one picture through one backbone, over views that the picture was not optimized on."""

    code: float  # mean over views of the largest code after TopK
    rank: int  # of the concept by its mean code, 1 is the strongest of all
    share: float  # of the tokens in which it fires (code > 0.1)
    percentile: float | None  # of `code` among the largest codes of natural images; None without statistics

    @property
    def fires(self) -> bool:
        """Whether the concept fires after TopK in at least 5% of the tokens."""
        return self.share >= MIN_SHARE


@dataclass(frozen=True)
class Scores:
    """Image x backbone: `scores[image][backbone]` is a `Score`."""

    concept: int
    table: Mapping[str, Mapping[str, Score]]
    drawn_for: Mapping[str, str | None]  # {image: the backbone it was drawn for; None for all of them}

    def __getitem__(self, image: str) -> Mapping[str, Score]:
        return self.table[image]

    def fired(self, image: str) -> bool:
        """Whether a picture fires its concept in the backbone it was drawn for (in all, for a shared one)."""
        own = self.drawn_for[image]
        row = self.table[image]
        return all(score.fires for score in row.values()) if own is None else row[own].fires

    def as_dict(self) -> dict[str, Any]:
        """What scores.json holds."""
        images = {
            image: {
                "fired": self.fired(image),
                "backbones": {n: {**asdict(s), "fires": s.fires} for n, s in row.items()},
            }
            for image, row in self.table.items()
        }
        return {"concept": self.concept, "images": images}

    def __rich__(self) -> Table:
        table = Table(
            title=f"concept {self.concept}, under views that the pictures were not optimized on",
            caption="code after TopK, #rank among concepts, share of tokens that fire, p: percentile of natural images",
            title_justify="left",
            caption_justify="left",
        )
        table.add_column("image", no_wrap=True)
        for name in next(iter(self.table.values())):
            table.add_column(f"through {name}", justify="right")
        table.add_column("fires")
        for image, row in self.table.items():
            cells = [_cell(score) for score in row.values()]
            table.add_row(image, *cells, "yes" if self.fired(image) else "[bold red]FAILED[/]")
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def _cell(score: Score) -> str:
    natural = "" if score.percentile is None else f" p{score.percentile:.1f}"
    return f"{score.code:.2f} #{score.rank} {score.share:.0%}{natural}"


@torch.no_grad()
def verify(
    usae: USAE, concept: int, canvases: Mapping[str, Tensor], drawn_for: Mapping[str, str | None], seed: int
) -> Scores:
    """Score pictures of one concept through every backbone.

    Args:
        usae: the model.
        concept: the concept that the pictures are of.
        canvases: {image: (3, H, W)}.
        drawn_for: {image: the backbone it was drawn for; None for all of them}.
        seed: the run's seed; the views are drawn from another one derived from it.
    """
    stacked = torch.stack(list(canvases.values()))
    backbones = usae.backbones
    size = max(backbone.input_size for backbone in backbones.values())
    generators = [torch.Generator().manual_seed(seed + UNSEEN_SEED) for _ in canvases]
    shown = views(stacked, PRESETS["unseen"], generators, VIEWS, size)
    table: dict[str, dict[str, Score]] = {image: {} for image in canvases}
    for row, (name, backbone) in enumerate(backbones.items()):
        acts = perceive(usae, backbone, stacked, shown)
        codes = acts.codes
        ours = codes.of(concept)  # (image, view, token)
        means = codes.dense(usae.n_concepts).mean((1, 2))  # (image, n_concepts)
        for i, image in enumerate(canvases):
            table[image][name] = _score(usae, row, concept, ours[i], means[i])
    return Scores(concept, table, dict(drawn_for))


def _score(usae: USAE, backbone: int, concept: int, ours: Tensor, means: Tensor) -> Score:
    code = ours.amax(-1).mean().item()
    statistics = usae.statistics
    return Score(
        code=code,
        rank=int((means > means[concept]).sum()) + 1,
        share=(ours > TAU).float().mean().item(),
        percentile=None if statistics is None else statistics.percentile(backbone, concept, code),
    )
