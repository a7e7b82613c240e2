"""What torch writes: states that something stopped resumes from, whole or not at all; read without running code."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import torch

from usae_train.files.atomic import atomic_path
from usae_train.files.regular import another_kind
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line
from usae_train.runtime.shortage import shortage


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


def read_torch_file(
    file: Path | BinaryIO, name: str, kind: str = "file of torch's", device: torch.device | str = "cpu"
) -> Any:
    """What torch saved in a file: tensors, numbers, strings and lists and dicts of them; nothing in it is run.

    What torch warns of, such as tensors of a kind that we refuse, is for who reads it to say.

    Args:
        file: a path, or an open file.
        name: what messages begin with.
        kind: what the file should be, for the message of a broken one.
        device: where its tensors go.

    Raises:
        UsageError: for a file that is missing or broken or holds more than that, and for a pipe, a device or a folder,
            which may have no end.
    """
    if isinstance(file, Path) and (another := another_kind(file)) is not None:
        raise UsageError(f"{name} cannot be read: it is {another}; expected a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: there is no such file") from error
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{name} holds more than tensors, and nothing that can run code is loaded; save its state_dict alone"
        ) from error
    except Exception as error:  # a broken file can raise anything
        if shortage(error) is not None:  # which says nothing of the file
            raise
        raise UsageError(f"{name} is not a readable {kind} ({first_line(error)}); it may be cut short") from error
