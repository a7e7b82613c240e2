"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from usae_train.files.placing import apply_umask, move_into_place, place_of
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.runtime.starting import restore_ctrl_c


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is removed otherwise.

    It is on the disk before it takes its place, has the permissions that the umask gives, and goes where `target`
    points when that is a link. Missing parent folders are made.

    Raises:
        ValueError: when the place cannot be written.
    """
    place = place_of(target)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if temporary.is_dir():  # left by a process that was killed and had our number
            shutil.rmtree(temporary)
        restore_ctrl_c()  # Ctrl-C clears up behind itself from here on
        yield temporary
        apply_umask(temporary)
        move_into_place(temporary, place)
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"{target} cannot be written: {reason}; free some space, or choose another place with --out"
        ) from error
    finally:
        with suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder, made already, that takes the place of an older one when the block ends well; else nothing is changed.

    The older one is moved aside before it is removed: what is left of it in its place would not be whole.

    Raises:
        ValueError: as `atomic_path`.
    """
    place = place_of(folder)
    aside = place.with_name(f".{place.name}.old.{os.getpid()}.part")
    missing = [parent for parent in place.parents if not parent.exists()]
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with atomic_path(place) as building:
            building.mkdir()
            yield building
            if place.exists():
                os.replace(place, aside)
    except BaseException:
        with suppress(OSError):
            if aside.exists():
                os.replace(aside, place)
            for parent in missing:
                parent.rmdir()
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_atomically(file: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all; text as UTF-8.

    Raises:
        ValueError: as `atomic_path`.
    """
    with atomic_path(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(file: Path, values: Mapping[str, Any], indent: int = 2) -> None:
    """Write JSON, whole or not at all; what is not finite is null."""
    write_atomically(file, json_text(values, indent=indent) + "\n")


def leftovers_of(target: Path) -> list[Path]:
    """What `atomic_path(target)` left beside it where processes were killed; none of targets with longer names."""
    place = place_of(target)
    pattern = re.compile(rf"\.{re.escape(place.name)}\.\d+\.part")
    return [left for left in place.parent.glob(".*.part") if pattern.fullmatch(left.name)]


def remove_leftovers(temporaries: Iterable[Path]) -> None:
    """Remove temporary files and folders (.NAME.PID.part) whose process has ended; those of running ones stay.

    Processes are those of this machine: on a disk that several share, call it where no other one writes.
    """
    for temporary in list(temporaries):
        number = temporary.name.removesuffix(".part").rpartition(".")[2]
        if not number.isdecimal() or _lives(int(number)):
            continue
        with suppress(OSError):
            if temporary.is_dir() and not temporary.is_symlink():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)  # asks, and does nothing to it
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def check_writable(target: Path) -> None:
    """Check that a file or folder could be made at `target`, before hours of work, and leave nothing behind.

    Raises:
        ValueError: when it could not.
    """
    place = place_of(target)
    missing = [parent for parent in place.parents if not parent.exists()]
    probe = place.with_name(f".{place.name}.{os.getpid()}.probe")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        within = f", such as {target / 'new'}" if place.is_dir() and os.access(place, os.W_OK) else ""
        raise UsageError(
            f"{target} cannot be written: {error.strerror or error}; choose another place with --out{within}"
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
            for parent in missing:
                parent.rmdir()


def check_file(target: Path) -> None:
    """Check that a file could be made at `target`, as `check_writable` does.

    Raises:
        ValueError: when it could not be made, or is a folder.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder, and a file is to be written there; choose another place with --out")
    check_writable(target)


def check_folder(out: Path) -> None:
    """Check that a folder may be made or filled there.

    Raises:
        ValueError: for a file, and for what cannot be written.
    """
    if out.is_file():
        raise UsageError(f"{out} is a file; expected a folder, or a name that is not taken")
    check_writable(out)


def check_free(folder: Path) -> None:
    """Refuse a place that holds something already, or cannot be written: asked before hours of work, not after.

    Raises:
        ValueError: when it does, is a file, or its parent folder cannot be made or written.
    """
    if not folder.name:  # what is beside it could not be named after it
        raise UsageError(f"{str(folder)!r} does not name a folder; give one with --out")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder} exists already; choose another --out, or remove it first")
    check_writable(folder)
