"""What torch wrote, read without running anything: a file, the bytes behind a header, one with an object inside."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from usae_train.files.torch_state import read_torch_file

TORCH_SUFFIXES = (".pt", ".pth")


class InertObject:
    """Replaces a class of another library in a file: it holds an object's attributes, and does nothing."""


def load_tensors(content: bytes | Path, file: Path, inert: Sequence[str] = ()) -> Any:
    """What a file of torch's holds: tensors, numbers, strings, lists and dicts of them.

    Args:
        content: the file, or bytes of it.
        file: its name, for messages.
        inert: full names of classes that may occur in it; their objects become `InertObject`s.

    Raises:
        ValueError: for a file that is missing or broken, or holds anything that could run code.
    """
    stand_ins: list[Any] = [(type("InertObject", (InertObject,), {}), name) for name in inert]
    with torch.serialization.safe_globals(stand_ins):
        return read_torch_file(content if isinstance(content, Path) else io.BytesIO(content), str(file))
