"""The first moments of a command line, before its work begins: Ctrl-C ends it in one line, whatever is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

# What imports make is not garbage. With Python's 700 for the first, looking for some takes a fifth of their time:
# `import timm` 3.4 s of a processor, with these 2.8, without any 2.7 (best of three).
OBJECTS_BETWEEN_COLLECTIONS = (20_000, 20, 20)


def start(package: str) -> None:
    """Run a package's command line.

    Args:
        package: `usae_train` or `usae_viz`, whose `cli.app` it is.
    """
    end_on_ctrl_c()
    gc.set_threshold(*OBJECTS_BETWEEN_COLLECTIONS)
    import_module(f"{package}.cli").app()


def end_on_ctrl_c() -> None:
    """From now until the work begins, Ctrl-C ends the process at once: an exception can get lost in an import.

    `maximize` that was given Ctrl-C while torch was being imported went on to its end as if nothing had been. Where
    Ctrl-C is ignored, as in a script's background jobs, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_at_once)


def restore_ctrl_c() -> None:
    """The work begins: Ctrl-C is a KeyboardInterrupt again, which is answered by keeping or clearing what is there."""
    if signal.getsignal(signal.SIGINT) is _exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_at_once(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    sys.stderr.write("stopped\n")  # nothing is open yet that would have to be closed
    sys.stderr.flush()
    os._exit(128 + number)
