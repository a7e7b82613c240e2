"""What torch wrote, read without running anything: a file, the bytes behind a header, one with an object inside."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from usae_train.backbones.weight_files import first_line
from usae_train.files.torch_state import read_pickled
from usae_train.runtime.errors import UsageError

TORCH_SUFFIXES = (".pt", ".pth")


class Inert:
    """Stands for a class of another library in a file: holds what the file says of an object, and does nothing."""


def loaded(content: bytes | Path, file: Path, inert: Sequence[str] = ()) -> Any:
    """What a file of torch's holds: tensors, numbers, strings, lists and dicts of them.

    Args:
        content: the file, or bytes of it.
        file: it, for messages.
        inert: full names of classes that may occur in it; their objects come as `Inert`.

    Raises:
        ValueError: for a file that is missing or broken, or holds anything that could run code.
    """
    stand_ins: list[Any] = [(type("Inert", (Inert,), {}), name) for name in inert]
    try:
        with torch.serialization.safe_globals(stand_ins):
            source = content if isinstance(content, Path) else io.BytesIO(content)
            return read_pickled(source)
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"no file at {str(file)!r}") from error
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{file} holds more than tensors, and nothing that can run code is loaded; save its state_dict alone"
        ) from error
    except Exception as error:  # a broken file can raise anything
        raise UsageError(
            f"{file} is not a readable file of torch's ({first_line(error)}); it may be cut short"
        ) from error
