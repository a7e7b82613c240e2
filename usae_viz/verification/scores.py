"""What the verification says: image x backbone, as a table, a heat map and JSON."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import torch
from PIL import Image
from rich.table import Table
from rich.text import Text
from torch import Tensor
from torch.nn import functional

MIN_SHARE = 0.05  # of the tokens; a picture of noise reached 0.03 (the demo's stripes, before they could be drawn)
SEED = re.compile(r"-seed-\d+$")  # what tells pictures of one kind apart


@dataclass(frozen=True)
class Score:
    """One concept in one picture through one backbone, over views that the picture was not optimized on."""

    code: float  # mean over views of the largest code after TopK
    rank: int  # of the concept by its mean code, 1 is the strongest of all
    share: float  # of the tokens in which it fires (code > 0.1)
    percentile: float | None  # of `code` among the largest codes of natural images; None without statistics
    others: float = 0.0  # chance: the same figure as `code`, mean over random other concepts in this picture
    noise: float | None = None  # chance: the same figure as `code` in pictures that nothing was optimized in

    @property
    def fires(self) -> bool:
        """Whether the concept fires after TopK in at least 5% of the tokens."""
        return self.share >= MIN_SHARE


@dataclass(frozen=True)
class Scores:
    """Image x backbone: `scores[image][backbone]` is a `Score`."""

    concept: int
    table: Mapping[str, Mapping[str, Score]]
    drawn_for: Mapping[str, tuple[str, ...]]  # {image: the backbones it was drawn for}
    signatures: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict, repr=False)  # mean codes (n_concepts,)

    def __getitem__(self, image: str) -> Mapping[str, Score]:
        return self.table[image]

    def fired(self, image: str) -> bool:
        """Whether a picture fires its concept in every backbone that it was drawn for."""
        return all(self.table[image][backbone].fires for backbone in self.drawn_for[image])

    @property
    def failed(self) -> list[str]:
        """The images that do not fire their concept."""
        return [image for image in self.table if not self.fired(image)]

    @property
    def agreement(self) -> dict[str, float]:
        """How alike pictures from different seeds are: {image without its seed: mean cosine of their mean codes}.

        Through the backbones that they were drawn for; empty with one seed.
        """
        kinds: dict[str, list[str]] = {}
        for image in self.signatures:
            kinds.setdefault(SEED.sub("", image), []).append(image)
        found = {}
        for kind, images in kinds.items():
            cosines = [
                functional.cosine_similarity(self.signatures[a][backbone], self.signatures[b][backbone], dim=0)
                for a, b in combinations(images, 2) for backbone in self.drawn_for[a]
            ]  # fmt: skip
            if cosines:
                found[kind] = torch.stack(cosines).mean().item()
        return found

    def as_dict(self) -> dict[str, Any]:
        """What scores.json holds."""
        images = {
            image: {
                "fired": self.fired(image), "drawn_for": list(self.drawn_for[image]),
                "backbones": {name: {**asdict(score), "fires": score.fires} for name, score in row.items()},
            }
            for image, row in self.table.items()
        }  # fmt: skip
        return {"concept": self.concept, "images": images, "agreement": self.agreement}

    def heat_map(self) -> Image.Image:
        """Image x backbone, the code in each cell; a frame marks the backbones that a picture was drawn for."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        images, names = list(self.table), list(next(iter(self.table.values())))
        codes = [[self.table[image][name].code for name in names] for image in images]
        figure = Figure(figsize=(1.6 + 1.0 * len(names), 1.3 + 0.5 * len(images)), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        highest = max(1e-6, *(code for row in codes for code in row))
        axes.imshow(codes, cmap="viridis", vmin=0, vmax=highest, aspect="auto")
        for row, image in enumerate(images):
            for column, name in enumerate(names):
                ink = "white" if codes[row][column] < 0.6 * highest else "black"
                axes.text(column, row, f"{codes[row][column]:.2f}", ha="center", va="center", color=ink, fontsize=9)
                if name in self.drawn_for[image]:
                    axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec="white", lw=2))
        axes.set_xticks(range(len(names)), [f"through {name}" for name in names], fontsize=9)
        marked = [f"{image} (FAILED)" if image in self.failed else image for image in images]
        axes.set_yticks(range(len(images)), marked, fontsize=9)
        axes.set_title(f"concept {self.concept}: code after TopK", fontsize=10)
        canvas.draw()
        return Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        self.heat_map().save(page, "PNG")
        return page.getvalue()

    def __rich__(self) -> Table:
        noise = [score.noise for row in self.table.values() for score in row.values() if score.noise is not None]
        others = [score.others for row in self.table.values() for score in row.values()]
        chance = f"chance: random other concepts {sum(others) / len(others):.2f}" if others else ""
        if noise:
            chance += f", pictures of noise {sum(noise) / len(noise):.2f}"
        alike = ", ".join(f"{kind} {cosine:.2f}" for kind, cosine in self.agreement.items())
        table = Table(
            title=f"concept {self.concept}, under views that the pictures were not optimized on",
            caption="code after TopK, #rank among concepts, share of tokens that fire, p: percentile of natural\n"
            + chance
            + (f"\nagreement over seeds (cosine of mean codes): {alike}" if alike else ""),
            title_justify="left", caption_justify="left",
        )  # fmt: skip
        table.add_column("image", no_wrap=True)
        for name in next(iter(self.table.values())):
            table.add_column(f"through {name}", justify="right")
        table.add_column("fires")
        for image, row in self.table.items():
            cells = [_cell(score) for score in row.values()]
            table.add_row(image, *cells, "yes" if self.fired(image) else Text("FAILED", "bold red"))
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
