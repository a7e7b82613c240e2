"""What every page brings along: its scripts and styles, and small copies of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from usae_viz.export.png import read_pixels

SHARED_FILES = ("theme.css", "dom.js", "spotlight.js")
TILE = 64  # pixels of a top-activating patch with its surroundings
# Of method 0 to 6 the slower ones save little: the demo's 1557 pictures and 256 strips take 4.2 s with 4, the library's
# default, 2.3 s with 2 (3% larger, 0.3 dB less) and 1.9 s with 0 (13% larger, 0.5 dB less), of one core.
WEBP: dict[str, Any] = {"format": "WEBP", "quality": 82, "method": 2}


def page_text(package: str, **values: Any) -> str:
    """A package's page/index.html with values in its places."""
    pages = Environment(loader=PackageLoader(package, "page"), autoescape=select_autoescape())
    return pages.get_template("index.html").render(**values)


def copy_page_files(package: str, names: Iterable[str], folder: Path) -> None:
    """Copy scripts and style sheets into a page's folder: a package's page/NAME, or what several pages share."""
    for name in names:
        page = files("usae_viz.pages" if name in SHARED_FILES else package).joinpath("page")
        (folder / name).write_text(page.joinpath(name).read_text(encoding="utf-8"), encoding="utf-8")


def small_copy(picture: Path, target: Path, side: int, quality: int = WEBP["quality"]) -> None:
    """A PNG of a run as WebP, at most `side` pixels wide and high; transparency is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = read_pixels(picture)
    small = whole.convert("RGBA" if "A" in whole.getbands() else "RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(target, **{**WEBP, "quality": quality})
