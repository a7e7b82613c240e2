"""Options of commands of both packages that are not settings: Python has none of them. Each is declared here alone."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="On the CPU, worker processes, which share the work; by default one per core, as far as the memory "
        "allows. The result is the same to the bit whatever the number.",
    ),
]
