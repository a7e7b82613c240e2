"""`usae-viz explore`, `rate` and `rate-score`: the commands that make pages, and read what comes back from them."""

from __future__ import annotations

import webbrowser
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from usae_train.terminal import one_line_errors, pick_device, progress_bars, stages

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]
Usae = Annotated[str | None, typer.Option("--usae", help="The runs' USAE, where it is not what run.json says.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(explore)


def explore(
    named: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_USAE...",
            help="Run folders: a card a drawn concept. `demo`, a USAE folder or a hub id: a card for every concept. "
            "Both can be given together, and several runs to compare them.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for index.html; the run's own, for anything else outputs/explore-TIME unless told."
        ),
    ] = None,
    natural: Annotated[
        int, typer.Option(min=0, max=8, help="Top natural pictures a backbone and concept; 0 leaves them out.")
    ] = 6,
    usae: Usae = None,
    pictures_only: Annotated[
        bool, typer.Option("--pictures-only", help="Do without the USAE: no statistics, no natural pictures.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write a page to look at concepts: their pictures, natural pictures with heat maps, statistics; sort, filter, compare.

    The page works from disk and without the network; its folder can be zipped and mailed.
    """
    with one_line_errors():
        from usae_viz.explorer.page import address, check_place, size_of
        from usae_viz.explorer.page import explore as write
        from usae_viz.explorer.sources import open_sources

        place = out or _own_place(named)
        check_place(place)
        sources = open_sources(named, usae, pictures_only, pick_device(device))
        with progress_bars(quiet) as progress:
            missing = write(sources, place, natural, stages(progress))
        for line in missing:
            typer.echo(line, err=True)
        if not quiet:
            kilobytes = size_of(place) / 1000
            size = f"{kilobytes / 1000:.1f} MB" if kilobytes >= 1000 else f"{kilobytes:.0f} kB"
            typer.echo(f"{place / 'index.html'}: {len(sources.cards)} cards, {size}")
        if open_page:
            webbrowser.open(address(place / "index.html"))


def _own_place(named: list[str]) -> Path:
    """A run alone keeps its page itself."""
    from usae_viz.explorer.runs import is_run

    if len(named) == 1 and is_run(Path(named[0])):
        return Path(named[0])
    return Path("outputs") / f"explore-{datetime.now().strftime('%Y-%m-%d-%H%M%S')}"
