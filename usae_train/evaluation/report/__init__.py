"""The report of an evaluation: report.json, and a page that opens from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from usae_train.evaluation.report.plots import co_fires_plot, consistency_plot, entropy_plot, r2_plot
from usae_train.evaluation.report_form import Report
from usae_train.evaluation.verdict import why_above_the_map
from usae_train.files.atomic import write_atomically
from usae_train.runtime.json_text import without_nan

SHOWN_CONCEPTS = 100  # concepts in the page's table; report.json has all


def write_report(report: Report, out: Path) -> None:
    """Write report.json and index.html, each whole or not at all.

    Args:
        report: what `evaluate` returned.
        out: the folder.
    """
    report, posthoc = without_nan(report), report.get("posthoc")
    page = Environment(loader=PackageLoader("usae_train.evaluation.report", "."), autoescape=select_autoescape())
    page.filters |= {"figure": format_figure, "percent": format_percent}
    plots = {
        "r2": r2_plot(report["r2"]),
        "entropy": entropy_plot(report),
        "co_fires": co_fires_plot(report),
        "consistency": consistency_plot(report),
        "posthoc": r2_plot(posthoc["r2"]) if posthoc else "",
    }
    text = page.get_template("page.html").render(
        report=report, plots=plots, rows=table_rows(report), above_the_map=why_above_the_map(report)
    )
    write_atomically(out / "report.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "index.html", text)


def table_rows(report: Report) -> list[dict[str, Any]]:
    """The concepts that all backbones fire most often together (or, of a single backbone, that fire most)."""
    concepts = report["concepts"]
    follows: dict[int, list[str]] = {}
    for value, best in report["truth"]["values"].items() if "truth" in report else ():
        if best["recovered"]:
            follows.setdefault(best["concept"], []).append(value)
    order = sorted(range(report["n_concepts"]), key=lambda c: (-concepts["co_fires"][c], c))[:SHOWN_CONCEPTS]
    return [
        {
            "concept": c,
            "co_fires": concepts["co_fires"][c],
            "energy": concepts["energy"][c],
            "entropy": concepts["entropy"][c],
            "universality": concepts["universality"][c],
            "co_firing": {name: shares[c] for name, shares in concepts["co_firing"].items()},
            "follows": ", ".join(follows.get(c, [])),
        }
        for c in order
    ]


def format_figure(value: float | None, digits: int = 2) -> str:
    """A figure as the page prints it: a dash for what could not be worked out."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_percent(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.0f}%"
