"""One process at a time writes a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the place of a folder that is to be written; nothing is left beside it afterwards.

    On a file system that knows no locks nothing is held.

    Raises:
        ValueError: when another process holds it, or nothing can be written there.
    """
    out = out.absolute()
    missing = [parent for parent in out.parents if not parent.exists()]
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"{out} is being written by another process; wait until it is done, or choose another --out"
        ) from error
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}; choose another place with --out") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()
