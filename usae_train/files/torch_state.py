"""States that something stopped resumes from: written whole or not at all, and loaded without running code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import torch

from usae_train.files.atomic import atomic_path
from usae_train.files.regular import check_regular


def write_state(state: dict[str, Any], file: Path) -> None:
    """Write a state instead of the one before.

    Args:
        state: tensors, numbers, strings, and lists and dicts of them.
        file: where; missing folders are made.

    Raises:
        ValueError: when it cannot be written; the one before is kept.
    """
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        try:
            torch.save(state, opened)
        except RuntimeError as error:  # torch's word for a full disk; the file's own error lies behind it
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_pickled(file: Path | BinaryIO, device: torch.device | str = "cpu") -> Any:
    """What torch saved in a file: tensors, numbers, strings and lists and dicts of them; nothing in it is run.

    What torch warns of, such as tensors of a kind that we refuse, is for who reads it to say.

    Raises:
        UsageError: for a pipe, a device or a folder, which may have no end.
        pickle.UnpicklingError: for a file that holds more than that.
        Exception: of any kind, for a broken file.
    """
    if isinstance(file, Path):
        check_regular(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location=device, weights_only=True)
