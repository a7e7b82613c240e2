"""Opening safetensors files wherever they lie: it writes where a name is no UTF-8, and does not read there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from safetensors import torch as tensors
from torch import Tensor

from usae_train.files.regular import check_regular


@contextmanager
def safe_open(file: Path, framework: str) -> Iterator[Any]:
    """`safetensors.safe_open`.

    Raises:
        ValueError: for a pipe, a device or a folder.
    """
    with _by_utf8_name(file) as place, safetensors.safe_open(place, framework) as opened:
        yield opened


def load_file(file: Path) -> dict[str, Tensor]:
    """`safetensors.torch.load_file`.

    Raises:
        ValueError: for a pipe, a device or a folder.
    """
    with _by_utf8_name(file) as place:
        return tensors.load_file(place)


@contextmanager
def _by_utf8_name(file: Path) -> Iterator[Path]:
    """The file's own path, or while it is opened that of a link to it."""
    check_regular(file)
    try:
        str(file).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as room:
            link = Path(room) / "linked.safetensors"
            link.symlink_to(file.absolute())
            yield link
    else:
        yield file
