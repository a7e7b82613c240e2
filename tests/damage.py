"""A damaged file: it is read, or refused in one line; nothing else, and soon."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Kind:
    """A file that is read.

    Attributes:
        name: what it is.
        folder: everything that goes with it, put back after each time.
        file: the one that is damaged.
        mutate: file, random -> damages it.
        read: reads it as the project does, and makes of it what a command would.
    """

    name: str
    folder: Path
    file: Path
    mutate: Callable[[Path, Random], None]
    read: Callable[[], object]


class TooLong(BaseException):
    """A reader that has not come back."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End what takes more of the processor, or ten times as long by the clock, with `TooLong`."""

    def ring(*_: object) -> None:
        raise TooLong

    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, seconds), signal.ITIMER_REAL: (signal.SIGALRM, 10 * seconds)}
    before = {number: signal.signal(number, ring) for number, _ in clocks.values()}
    for clock, (_, limit) in clocks.items():
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for clock in clocks:
            signal.setitimer(clock, 0)
        for number, former in before.items():
            signal.signal(number, former)


def wrong_with(kind: Kind, seed: int, seconds: float = 20.0) -> str | None:
    """Damage a kind's file, read it, put all back; what went wrong, or None where it was read or refused in one line.

    Args:
        kind: the file.
        seed: decides the damage.
        seconds: it may take.
    """
    whole = {file: file.read_bytes() for file in kind.folder.rglob("*") if file.is_file()}
    around = _listing(kind.folder.parent)
    kind.mutate(kind.file, Random(f"{kind.name} {seed}"))
    wrong = None
    try:
        with at_most(seconds):
            kind.read()
    except ValueError as error:
        wrong = _no_line(error, kind)
    except TooLong:
        wrong = f"took more than {seconds:.0f} s"
    except Exception as error:
        wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        for file in kind.folder.rglob("*"):
            if file.is_file() and file not in whole:
                file.unlink()
        for file, content in whole.items():
            if not file.is_file() or file.read_bytes() != content:
                file.write_bytes(content)
    if wrong is None and _listing(kind.folder.parent) != around:
        wrong = "wrote beside its folder"
    return wrong


def _listing(room: Path) -> list[str]:
    return sorted(os.listdir(room))


def _no_line(error: ValueError, kind: Kind) -> str | None:
    """What is wrong with an error that should be one clear line which names the file or its folder."""
    text = " ".join(str(error).split())
    if not (type(error) is ValueError or type(error).__module__.startswith("usae_")):
        return f"raw {type(error).__name__}: {text[:200]}"
    if "Traceback" in text or len(text) > 3000 or not text:
        return f"no line: {text[:200]}"
    if not any(name in text for name in (kind.file.name, kind.folder.name)):
        return f"names no file: {text[:200]}"
    return None
