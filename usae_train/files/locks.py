"""One process at a time writes a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from usae_train.files.placing import place_of
from usae_train.runtime.errors import UsageError


def acquire_lock(file: Path, busy: str) -> FileLock:
    """Take a lock file at once. On a file system without locks nothing is held.

    Raises:
        ValueError: with the words `busy`, when another process has it.
    """
    lock = FileLock(file, fallback_to_soft=False)
    with suppress(OSError, NotImplementedError):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(busy) from error
    return lock


@contextmanager
def folder_lock(out: Path) -> Iterator[None]:
    """Hold the place of a folder that is to be written; nothing is left beside it afterwards.

    Where there are no locks nothing is held, nor beside a folder that may be written in a parent that may not. What
    cannot be written at all is for whoever writes to say.

    Raises:
        ValueError: when another process holds it.
    """
    named, out = out.absolute(), place_of(out)
    missing = [parent for parent in out.parents if not parent.exists()]
    with suppress(OSError):
        out.parent.mkdir(parents=True, exist_ok=True)
    lock = acquire_lock(
        out.with_name(f".{out.name}.lock"),
        f"{named} is being written by another process; wait until it is done, or choose another --out",
    )
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()
