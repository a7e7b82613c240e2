"""What both command lines share: one clear line for an error, progress bars on a terminal only."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from usae_train.runtime.errors import UsageError, shows_tracebacks, write_traceback
from usae_train.runtime.printing import escape_controls, one_line, say, say_error
from usae_train.runtime.progress import ProgressCallback, stage_line
from usae_train.runtime.shortage import is_fault, shortage
from usae_train.runtime.signals import Stopped
from usae_train.runtime.starting import restore_ctrl_c
from usae_train.runtime.warning_kinds import OneLineWarning, UnexpectedReadingWarning

if TYPE_CHECKING:
    from rich.progress import Progress

Bars = TypeVar("Bars", bound="Progress")


@contextmanager
def one_line_errors(quiet: bool = False) -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and exit status 1; a stop into its own status.

    A fault of ours is a line too, which names the file that has its traceback; with USAE_TRACEBACK=1 it is raised.

    Args:
        quiet: say nothing of how backbones are read.
    """
    try:
        with _one_line_warnings(quiet):
            yield
    except Stopped as stopped:
        say(one_line(stopped), err=True)
        raise SystemExit(stopped.status) from None
    except KeyboardInterrupt:
        say("stopped", err=True)
        raise SystemExit(130) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):  # the command line's own
        raise
    except BrokenPipeError:  # who reads what is printed, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not tried again at the end
        raise SystemExit(141) from None
    except Exception as error:
        our_fault = is_fault(error)
        if our_fault and shows_tracebacks():
            raise
        say_error(write_traceback(error) if our_fault else shortage(error) or error)
        raise SystemExit(1) from None


@contextmanager
def wrong_usage() -> Iterator[None]:
    """An option's value that no run could take is wrong usage, status 2, whoever sees it: typer or a settings class."""
    try:
        yield
    except UsageError as error:
        say_error(error)
        raise SystemExit(2) from None


@contextmanager
def _one_line_warnings(quiet: bool) -> Iterator[None]:
    """Our own warnings without the place in the code, which tells users nothing; others' as ever."""
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", UnexpectedReadingWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, OneLineWarning):
                say(f"warning: {one_line(str(message))}", err=True)
            else:
                say(*warnings.formatwarning(message, category, *where[:2]).splitlines(), err=True)

        warnings.showwarning = show
        yield


@contextmanager
def progress_report(quiet: bool) -> Iterator[ProgressCallback]:
    """What shows how far a command is, as `bars_or_lines` does, as long as it works."""
    from rich.progress import Progress

    with bars(Progress, quiet) as progress:
        yield bars_or_lines(progress, quiet)


@contextmanager
def bars(kind: type[Bars], quiet: bool) -> Iterator[Bars]:
    """Bars as all commands show them, of rich's own kind or one that shows more."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    restore_ctrl_c()
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    progress = kind(*columns, console=console, disable=quiet or not console.is_terminal)
    if progress.disable:  # before rich 14.1 leaving one that was entered prints an empty line
        yield progress
        return
    with progress:
        yield progress


def stages(progress: Progress) -> ProgressCallback:
    """A report that keeps one bar per stage."""
    bars: dict[str, Any] = {}

    def report(stage: str, done: int, total: int, note: str) -> None:
        note = escape_controls(note)
        if stage not in bars:
            bars[stage] = progress.add_task(escape_controls(stage), total=total, note=note)
        progress.update(bars[stage], completed=done, total=total, note=note)

    return report


def bars_or_lines(progress: Progress, quiet: bool) -> ProgressCallback:
    """Bars on a terminal; elsewhere, as in a log, a line about every half minute; nothing when quiet."""
    return stages(progress) if quiet or not progress.disable else progress_lines()


def progress_lines(seconds: float = 30.0) -> ProgressCallback:
    """A report that prints a line on stderr now and then: what is done, of how many."""
    last = time.monotonic()

    def report(stage: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(stage_line(stage, done, total, note), err=True)

    return report


def is_alone() -> bool:
    """Whether torchrun started this process alone, or did not start it.

    Of several each would tell of a mistake that is found before they know of each other, and look for what the first
    has made meanwhile.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def pick_device(device: str) -> str:
    """`auto` is the first GPU, or the CPU; under torchrun `auto` and `cuda` are the GPU of this process's number.

    Raises:
        ValueError: for a device that is not there.
    """
    import torch

    place = os.environ.get("LOCAL_RANK")
    if place is not None and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(place) % torch.cuda.device_count()}"
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"no device {device!r} here; expected `cpu`, `cuda`, `cuda:0`, ...") from error
    return device


def say_left_out(left_out: str) -> None:
    """Say on stderr how many of what is there are not taken: a source's `left_out`, if there are any."""
    if left_out:
        say(left_out, err=True)


def say_skipped(why: str) -> None:
    """Say on stderr that a picture cannot be read, and why."""
    say(f"skipped: {why}", err=True)
