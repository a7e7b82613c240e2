"""How the verification looks: a table for the terminal, and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image
from rich.table import Table as RichTable
from rich.text import Text

from usae_train.runtime.printing import as_text
from usae_train.runtime.tables import Table


def rich_table(table: Table, styles: Sequence[str], caption: Sequence[str]) -> RichTable:
    """A table of texts for the terminal, whose first and last columns are words; `styles` are of the last cells."""
    table_of_text = RichTable(
        title=as_text(table.title, "table.title"),
        caption=Text("\n", "table.caption").join(map(as_text, caption)),
        title_justify="left",
        caption_justify="left",
    )
    first, *figures, last = table.columns
    table_of_text.add_column(as_text(first), no_wrap=True)
    for name in figures:
        table_of_text.add_column(as_text(name), justify="right")
    table_of_text.add_column(as_text(last))
    for row, style in zip(table.rows, styles, strict=True):
        table_of_text.add_row(*map(as_text, row[:-1]), as_text(row[-1], style))
    return table_of_text


def heat_map(
    title: str,
    strengths: Mapping[str, Mapping[str, float]],
    backbones: Sequence[str],
    framed_cells: Sequence[tuple[int, str]],
) -> Image.Image:
    """{row: {backbone: strength}} as a picture, 0 where there is none, with a frame around some (row, backbone)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    values = [[row.get(name, 0.0) for name in backbones] for row in strengths.values()]
    figure = Figure(figsize=(1.6 + 1.0 * len(backbones), 1.3 + 0.5 * len(values)), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    highest = max(1e-6, *(value for row in values for value in row))
    axes.imshow(values, cmap="viridis", vmin=0, vmax=highest, aspect="auto")
    for row, of_row in enumerate(values):
        for column, value in enumerate(of_row):
            ink = "white" if value < 0.6 * highest else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
    for row, name in framed_cells:
        corner = (backbones.index(name) - 0.47, row - 0.47)
        axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, ec="white", lw=2))
    axes.set_xticks(range(len(backbones)), [f"through {name}" for name in backbones], fontsize=9)
    axes.set_yticks(range(len(values)), list(strengths), fontsize=9)
    axes.set_title(title, fontsize=10)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
