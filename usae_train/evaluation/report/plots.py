"""The report's plots, as SVG text: legible in print and by the colour-blind (viridis, Okabe-Ito, direct labels)."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from usae_train.evaluation.metrics import SAME_ATOM
from usae_train.evaluation.report_form import Report

TEXT = "#010203"  # of words and axes; becomes the page's own colour of text, light or dark
PLOT_STYLE: Any = {
    "font.size": 11,  # of figures so small that it can still be read where a phone makes them smaller
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}
# Okabe and Ito's palette for the colour-blind; line styles tell the same apart in print
LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", "-.", ":")


@mpl.rc_context(PLOT_STYLE)
def r2_plot(matrix: Mapping[str, Mapping[str, float | None]]) -> str:
    """An R² matrix: rows encode, columns are decoded; empty where a figure could not be worked out."""
    names = list(matrix)
    values = [[math.nan if (r2 := matrix[source][target]) is None else r2 for target in names] for source in names]
    figure, axes = _new_figure(1.2 + 0.85 * len(names), 0.8 + 0.7 * len(names))
    axes.imshow([[max(value, 0.0) for value in row] for row in values], cmap="viridis", vmin=0, vmax=1)
    for row, figures in enumerate(values):
        for column, value in enumerate(figures):
            text = "–" if math.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set_xticks(range(len(names)), [f"to {name}" for name in names])
    axes.set_yticks(range(len(names)), [f"from {name}" for name in names])
    return _svg(figure, "R² from every backbone to every backbone")


@mpl.rc_context(PLOT_STYLE)
def entropy_plot(report: Report) -> str:
    """How many concepts fire equally often in all backbones (1), or in one alone (0)."""
    counts = report["entropy"]["histogram"]
    if counts is None:
        return ""
    figure, axes = _new_figure(4.4, 2.6)
    axes.bar(
        [(i + 0.5) / len(counts) for i in range(len(counts))], counts, width=0.9 / len(counts), color=LINE_COLOURS[0]
    )
    axes.set_xlabel("firing entropy\n(0: one backbone alone, 1: all equally)")
    axes.set_ylabel("concepts")
    return _svg(figure, "histogram of firing entropy")


@mpl.rc_context(PLOT_STYLE)
def co_fires_plot(report: Report) -> str:
    """Concepts that fire together against their energy, both logarithmic, with the line that fits the logarithms."""
    concepts = report["concepts"]
    pairs = [(c, e) for c, e in zip(concepts["co_fires"], concepts["energy"], strict=True) if c > 0 and e > 0]
    if len(pairs) < 3 or len(report["backbones"]) < 2:
        return ""
    figure, axes = _new_figure(4.4, 3.2)
    axes.loglog(*zip(*pairs, strict=True), ".", color=LINE_COLOURS[0], alpha=0.8, markersize=5)
    ends, fitted = _fit([math.log(c) for c, _ in pairs], [math.log(e) for _, e in pairs])
    axes.loglog([math.exp(x) for x in ends], [math.exp(y) for y in fitted], color=LINE_COLOURS[1], linewidth=1.2)
    for axis in (axes.xaxis, axes.yaxis):  # under two decades the labels between would run into each other
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("co-fires: tokens in which all backbones fire it")
    axes.set_ylabel("energy")
    return _svg(figure, "co-fires against energy")


@mpl.rc_context(PLOT_STYLE)
def consistency_plot(report: Report) -> str:
    """Matched cosines of every backbone, largest first; thin and grey, the baseline's."""
    if "independent" not in report:
        return ""
    figure, axes = _new_figure(4.4, 3.2)
    looks = zip(itertools.cycle(LINE_COLOURS), itertools.cycle(STYLES))
    for (name, matched), (colour, style) in zip(report["independent"]["consistency"].items(), looks, strict=False):
        curve, chance = (
            sorted((c for c in cosines if c is not None and not math.isnan(c)), reverse=True)
            for cosines in (matched["cosines"], matched["baseline"]["cosines"])
        )
        axes.plot([i / len(curve) for i in range(len(curve))], curve, style, color=colour, label=name)
        axes.plot([i / len(chance) for i in range(len(chance))], chance, style, color="#999999", linewidth=0.8)
    axes.axhline(SAME_ATOM, color="#999999", linewidth=0.6)
    axes.plot([], [], color="#999999", linewidth=0.8, label="random atoms")
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1)
    axes.set_xlabel("share of the concepts")
    axes.set_ylabel("cosine with its match")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _svg(figure, "consistency curves")


def _fit(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """Both ends of the least-squares line through (x, y)."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0
    ends = [min(x), max(x)]
    return ends, [mean_y + slope * (end - mean_x) for end in ends]


def _new_figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure, label: str) -> str:
    """SVG that says what it is to those who cannot see it; the same for the same figures."""
    page = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": label}):
        figure.savefig(
            page, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True
        )
    text = page.getvalue().replace(TEXT, "currentColor")
    return text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
