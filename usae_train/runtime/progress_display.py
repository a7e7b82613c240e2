"""What long work called from Python shows: bars in a notebook or on a terminal, elsewhere a line now and then.

rich shows nothing in a notebook without ipywidgets, so bars there are our own HTML, in one output that is
replaced by the closing lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from usae_train.runtime.printing import escape_controls, say
from usae_train.runtime.progress import ProgressCallback, stage_line
from usae_train.runtime.tables import as_html

Display = Callable[..., Any]  # IPython's `display`
REFRESH = 0.3  # seconds between two states of a notebook's bars: a page that is sent more of them becomes sluggish


@dataclass
class ProgressDisplay:
    """What work reports to while it runs, and the lines that are printed when it is done."""

    report: ProgressCallback
    lines: Callable[[], Sequence[str]] = list

    def close(self, lines: Callable[[], Sequence[str]]) -> None:
        """Print these lines at the end; when quiet they are never made."""
        self.lines = lines


@contextmanager
def progress_display(quiet: bool = False) -> Iterator[ProgressDisplay]:
    """Show what is reported within it where it can be seen, and the closing lines after it; nothing when quiet.

    In a notebook both are one output of its cell. Elsewhere they go to stderr: bars to a terminal, to a log a line
    about every half minute. Work that raises has no closing lines.
    """
    if quiet:
        yield ProgressDisplay(lambda stage, done, total, note: None)
        return
    display = notebook_display()
    if display is not None:
        bars = NotebookBars(display)
        progress = ProgressDisplay(bars.report)
        yield progress
        bars.close(progress.lines())
        return
    from usae_train.runtime.terminal import progress_report

    with progress_report(quiet=False) as report:
        progress = ProgressDisplay(report)
        yield progress
    say(*progress.lines(), err=True)


def notebook_display() -> Display | None:
    """IPython's `display` in a notebook; None elsewhere, in IPython's own terminal too."""
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display


class NotebookBars:
    """A bar per stage, in one output of a notebook's cell.

    Args:
        display: IPython's.
    """

    def __init__(self, display: Display) -> None:
        self.display = display
        self.stages: dict[str, tuple[int, int, str]] = {}  # done, in all, a figure in words
        self.handle: Any = None
        self.shown = -float("inf")

    def report(self, stage: str, done: int, total: int, note: str) -> None:
        """Move a stage's bar."""
        self.stages[stage] = (done, total, note)
        if done == total or time.monotonic() - self.shown >= REFRESH:
            self._show({"text/plain": "\n".join(map(self._line, self.stages)), "text/html": self._html()})

    def close(self, lines: Sequence[str]) -> None:
        """Leave lines where the bars were; nothing where neither is."""
        if self.handle is None and not lines:
            return
        plain = "\n".join(map(escape_controls, lines))
        self._show({"text/plain": plain, "text/html": as_html(lines)})

    def _show(self, content: dict[str, str]) -> None:
        self.shown = time.monotonic()
        if self.handle is None:
            self.handle = self.display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)

    def _line(self, stage: str) -> str:
        return escape_controls(stage_line(stage, *self.stages[stage]))

    def _html(self) -> str:
        sizes = [(done, max(total, 1)) for done, total, _ in self.stages.values()]
        bars = [f'<progress value="{done}" max="{total}"></progress>' for done, total in sizes]
        return as_html(list(map(self._line, self.stages)), before=bars)
