"""The report's plots, as SVG text: legible in print and by the colour-blind (viridis, one colour, direct labels)."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

INK = "#2b5c8a"


def r2_plot(report: dict[str, Any]) -> str:
    """The R² matrix: rows encode, columns are decoded."""
    names = report["backbones"]
    values = [[report["r2"][source][target] for target in names] for source in names]
    figure, axes = _figure(1.4 + 1.1 * len(names), 1.2 + 0.9 * len(names))
    axes.imshow([[max(0.0, value) for value in row] for row in values], cmap="viridis", vmin=0, vmax=1)
    for row, own in enumerate(values):
        for column, value in enumerate(own):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set_xticks(range(len(names)), [f"to {name}" for name in names])
    axes.set_yticks(range(len(names)), [f"from {name}" for name in names])
    return _svg(figure)


def entropy_plot(report: dict[str, Any]) -> str:
    """How many concepts fire equally often in all backbones (1), or in one alone (0)."""
    counts = report["entropy"]["histogram"]
    if counts is None:
        return ""
    figure, axes = _figure(5, 2.6)
    axes.bar([(i + 0.5) / len(counts) for i in range(len(counts))], counts, width=0.9 / len(counts), color=INK)
    axes.set_xlabel("firing entropy, 0: one backbone alone, 1: all equally")
    axes.set_ylabel("concepts")
    return _svg(figure)


def co_fires_plot(report: dict[str, Any]) -> str:
    """Concepts that fire together against their energy, both logarithmic."""
    figures = report["co_fires_energy"]
    pairs = [(c, e) for c, e in zip(figures["co_fires"], figures["energy"], strict=True) if c > 0 and e > 0]
    if not pairs:
        return ""
    figure, axes = _figure(5, 3.2)
    axes.loglog(*zip(*pairs, strict=True), ".", color=INK, alpha=0.6, markersize=5)
    axes.set_xlabel("co-fires: tokens in which all backbones fire the concept")
    axes.set_ylabel("energy")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    page = io.StringIO()
    figure.savefig(page, format="svg", metadata={"Date": None}, transparent=True)
    text = page.getvalue()
    return text[text.index("<svg") :]
