"""Folders below outputs/, for commands that are not given one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

STAMP = r"-\d{4}-\d\d-\d\d-\d{6}(-\d+)?"  # what `new_run` puts behind a name


def new_run(name: str) -> Path:
    """A folder below outputs/ that no run has yet."""
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    first = Path("outputs") / f"{name}-{stamp}"
    number = 1
    while (folder := first if number == 1 else first.with_name(f"{first.name}-{number}")).exists():
        number += 1
    return folder
