"""SIGTERM and Ctrl-C: who handles them while something runs, and what a process that they ended says."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # an end, not an error
    """SIGTERM or Ctrl-C came; the state was written.

    Attributes:
        status: what the process exits with, 143 or 130.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.status = status_of(number)


@contextmanager
def report_stop_on_main(first: bool) -> Iterator[None]:
    """Of processes that are stopped together the first tells of it; the others exit with its status.

    Raises:
        Stopped: what came within it, in the first process.
        SystemExit: for that, in the others.
    """
    try:
        yield
    except Stopped as stopped:
        if first:
            raise
        raise SystemExit(stopped.status) from None


def status_of(number: int) -> int:
    """What a process exits with that a signal has ended, as shells count."""
    return 128 + number


@contextmanager
def handle_signals(handler: Callable[[int], None], numbers: Sequence[int] = STOP_SIGNALS) -> Iterator[None]:
    """Within it `handler` is called with the number of each of these signals that comes.

    Where Ctrl-C is ignored it stays so: a shell script's background jobs (`usae-train ... &`) are begun to ignore it,
    for it is meant for the script. Only the main thread may say what a signal does; in another all stays as it is.
    """

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        handler(number)

    in_main = threading.current_thread() is threading.main_thread()
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    handled = [number for number in numbers if in_main and not (number == signal.SIGINT and ignored)]
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
