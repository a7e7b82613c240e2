"""Options that several commands of usae-viz have, and usae-train does not. Each is declared here alone."""

from __future__ import annotations

from typing import Annotated

import typer

JsonForTable = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
