"""Bringing what is written under a temporary name to its place: synced, with the umask's permissions, through links."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from usae_train.runtime.errors import UsageError

COMPLETION_FILE = "config.json"  # what makes a folder one of ours: the last to come where files come one by one
# Files that are synced at a time: file systems bundle them. 1000 of 2 KB on ext4 took 0.24 s with 4, 5.9 one by one.
SYNC_THREADS = 4
OWNER_ONLY = 0o600  # what safetensors and `tempfile` make files with, whatever the umask


def place_of(target: Path) -> Path:
    """Where a file or folder really goes: a link is written through, also to what is not there yet.

    Raises:
        ValueError: for links that lead to each other.
    """
    place = Path(os.path.realpath(target))
    if place.is_symlink():  # what realpath cannot follow to its end it gives back
        raise UsageError(f"{target} is a link that leads to itself; choose another place with --out, or remove it")
    return place


def apply_umask(written: Path) -> None:
    """Give files that only their owner can read the permissions that the umask gives new ones, in a folder too."""
    private = [file for file in _files_of(written) if file.stat().st_mode & 0o777 == OWNER_ONLY]
    if not private:
        return
    # asking for the umask would set it, for other threads as well
    plain = written.with_name(f"{written.name}.mode")
    try:
        plain.touch()
        mode = plain.stat().st_mode & 0o777
    finally:
        plain.unlink(missing_ok=True)
    for file in private:
        file.chmod(mode)


def sync_to_disk(written: Path) -> None:
    """Have a file, or a folder with all in it, written to the disk: a rename may reach it before the content does."""
    inside = [*written.rglob("*")] if written.is_dir() else []
    with ThreadPoolExecutor(SYNC_THREADS) as syncing:
        list(syncing.map(_sync_one, inside))
    _sync_one(written)


def move_into_place(written: Path, place: Path) -> None:
    """Rename what is written to its place, and have that written to the disk.

    An empty folder gives way. One that cannot, as a mount point, is filled file by file; nothing is left in it when
    that goes wrong.

    Raises:
        OSError: when it cannot be written.
    """
    sync_to_disk(written)
    try:
        os.replace(written, place)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        _carry(written, place)
    _sync_one(place.parent)


def _carry(written: Path, place: Path) -> None:
    """Copy a file over one that stays where it is, or a folder's files into one."""
    if written.is_file():
        shutil.copyfile(written, place)
        sync_to_disk(place)
        return
    place.mkdir(exist_ok=True)
    before, temporary_name = set(place.iterdir()), written.name
    try:
        for file in sorted(_files_of(written), key=lambda file: (file.name == COMPLETION_FILE, file)):
            target = place / file.relative_to(written)
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f"{temporary_name}.{target.name}")
            shutil.copyfile(file, beside)
            sync_to_disk(beside)
            os.replace(beside, target)
        sync_to_disk(place)
    except BaseException:
        for left in set(place.iterdir()) - before:
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        raise


def _files_of(written: Path) -> list[Path]:
    return [place for place in (written, *written.rglob("*")) if place.is_file()]


def _sync_one(place: Path) -> None:
    number = os.open(place, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot, mostly for folders
            raise
    finally:
        os.close(number)
