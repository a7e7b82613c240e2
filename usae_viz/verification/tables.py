"""The verification for people: a table for the terminal, and a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from rich.table import Table
from rich.text import Text

from usae_train.runtime.printing import as_text
from usae_train.runtime.tables import Table as OwnTable
from usae_train.runtime.tables import as_html
from usae_viz.verification.scores import Score
from usae_viz.verification.verdict import Verdict

if TYPE_CHECKING:
    from usae_viz.verification.scores import Scores

STYLE: dict[Verdict, str] = {"strong": "green", "weak": "yellow", "failed": "bold red"}


def rich_table(scores: Scores) -> Table:
    """Every picture through every backbone, with its verdict and what it lacks for a better one."""
    table = Table(
        title=as_text(f"{scores.subject}, under views that the pictures were not optimized on", "table.title"),
        caption=Text("\n", "table.caption").join(map(as_text, _caption(scores))),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("image", no_wrap=True)
    for name in _backbones(scores):
        table.add_column(as_text(f"through {name}"), justify="right")
    table.add_column("verdict")
    for image, row in scores.table.items():
        cells = [as_text(row[name].cell() if name in row else "") for name in _backbones(scores)]
        table.add_row(as_text(image), *cells, as_text(said(scores, image), STYLE[scores.verdict(image)]))
    return table


def html_table(scores: Scores) -> str:
    """The same for a notebook."""
    names = _backbones(scores)
    rows = [
        (image, *(row[name].cell() if name in row else "" for name in names), said(scores, image))
        for image, row in scores.table.items()
    ]
    columns = ("image", *(f"through {name}" for name in names), "verdict")
    title = f"{scores.subject}, under views that the pictures were not optimized on"
    return OwnTable(title, columns, rows).html() + as_html(_caption(scores))


def said(scores: Scores, image: str) -> str:
    """A picture's verdict, and what it lacks, in the backbone where it is worst."""
    backbone = scores.weakest(image)
    verdict, short = scores[image][backbone].lacks(scores.thresholds)
    where = f" in {backbone}" if short and len(scores.drawn_for[image]) > 1 else ""
    word = verdict.upper() if verdict == "failed" else verdict
    return f"{word}{where}" + (f": {', '.join(short)}" if short else "")


def heat_map(scores: Scores) -> Image.Image:
    """Image x backbone, the code (or the class's probability) in each cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    images, names = list(scores.table), _backbones(scores)
    values = [[scores[image][name].strength if name in scores[image] else 0.0 for name in names] for image in images]
    figure = Figure(figsize=(1.6 + 1.0 * len(names), 1.3 + 0.5 * len(images)), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    highest = max(1e-6, *(value for row in values for value in row))
    axes.imshow(values, cmap="viridis", vmin=0, vmax=highest, aspect="auto")
    for row, image in enumerate(images):
        for column, name in enumerate(names):
            ink = "white" if values[row][column] < 0.6 * highest else "black"
            axes.text(column, row, f"{values[row][column]:.2f}", ha="center", va="center", color=ink, fontsize=9)
            if name in scores.drawn_for[image]:
                axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec="white", lw=2))
    axes.set_xticks(range(len(names)), [f"through {name}" for name in names], fontsize=9)
    axes.set_yticks(range(len(images)), [f"{image} ({scores.verdict(image)})" for image in images], fontsize=9)
    what = "probability" if scores.concept is None else "code after TopK"
    axes.set_title(f"{scores.subject}: {what}", fontsize=10)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")


def _backbones(scores: Scores) -> list[str]:
    """All that looked at any of the pictures."""
    return list(dict.fromkeys(name for row in scores.table.values() for name in row))


def _caption(scores: Scores) -> list[str]:
    """What a cell's figures are, the levels of chance, the figures from closer, and whether the seeds agree."""
    lines = ["probability, #rank among the classes (and the class it is read as instead)"]
    if scores.concept is not None:
        lines = ["code after TopK, #rank among concepts, share of tokens that fire, p: percentile of natural"]
    lines += [line for line in (_chance(scores), _closer(scores)) if line]
    if scores.agreement:
        alike = ", ".join(f"{kind} {cosine:.2f}" for kind, cosine in scores.agreement.items())
        lines.append(f"agreement over seeds (cosine of mean codes): {alike}")
    return lines


def _chance(scores: Scores) -> str:
    cells = [score for row in scores.table.values() for score in row.values()]
    levels = {
        "random other concepts": [s.others for s in cells if isinstance(s, Score) and s.others is not None],
        "pictures of noise": [score.noise for score in cells if score.noise is not None],
    }
    named = [f"{name} {sum(found) / len(found):.2f}" for name, found in levels.items() if found]
    return f"chance: {', '.join(named)}" if named else ""


def _closer(scores: Scores) -> str:
    """The mean, over the pictures and their own backbones, of the figure in views of a part of the side."""
    found: dict[str, list[float]] = {}
    for image, row in scores.table.items():
        for name in scores.drawn_for[image]:
            for share, value in row[name].closer.items():
                found.setdefault(share, []).append(value)
    parts = ", ".join(f"of {share} of the side {sum(each) / len(each):.2f}" for share, each in found.items())
    return f"from closer, in its own backbone, mean: views {parts}" if parts else ""
