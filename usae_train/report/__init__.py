"""The report of an evaluation: report.json, and a page that opens from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from usae_train.atomic import atomic_path
from usae_train.report.plots import co_fires_plot, entropy_plot, r2_plot


def write_report(report: dict[str, Any], out: Path) -> None:
    """Write report.json and index.html, each whole or not at all.

    Args:
        report: what `evaluate` returned.
        out: the folder.
    """
    with atomic_path(out / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    page = Environment(loader=PackageLoader("usae_train.report", "."), autoescape=select_autoescape())
    plots = {"r2": r2_plot(report), "entropy": entropy_plot(report), "co_fires": co_fires_plot(report)}
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(page.get_template("page.html").render(report=report, plots=plots))
