"""A folder that takes the place of an older one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from usae_train.files.placing import permit, place_of, put
from usae_train.runtime.errors import UsageError


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder that is built beside its place and then takes it, instead of an older one.

    The older one is moved aside before it is removed: half of it in its place would not be a whole one any more.

    Raises:
        ValueError: when it cannot be written; nothing of it is left then.
    """
    place = place_of(folder)
    building = place.with_name(f".{place.name}.{os.getpid()}.part")
    aside = place.with_name(f".{place.name}.old.{os.getpid()}.part")
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        try:
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            yield building
            _take(building, place, aside)
        finally:
            for left in (building, aside):
                shutil.rmtree(left, ignore_errors=True)
    except BaseException as error:
        with suppress(OSError):  # nothing was written: leave nothing
            for parent in missing:
                parent.rmdir()
        if isinstance(error, OSError):
            raise UsageError(
                f"{place} cannot be written: {error.strerror or error}; free some space, or choose another place with "
                "--out"
            ) from error
        raise


def _take(building: Path, place: Path, aside: Path) -> None:
    shutil.rmtree(aside, ignore_errors=True)
    older = place.exists()
    if older:
        os.replace(place, aside)
    try:
        permit(building)
        put(building, place)
    except OSError:
        if older:
            os.replace(aside, place)
        raise
