"""What long work tells those who watch it; `terminal.stages` makes a bar a stage of it."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int, str], None]  # stage, done, in all, a figure in words
