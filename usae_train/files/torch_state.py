"""States that something stopped goes on from: written whole or not at all, and loaded without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from usae_train.files.atomic import atomic_path


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
