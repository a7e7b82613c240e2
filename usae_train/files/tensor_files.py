"""safetensors files: read wherever they lie, and equal to the byte whenever they are written.

safetensors writes where a name is not UTF-8, and does not read there.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from safetensors import torch as tensors
from torch import Tensor

from usae_train.files.regular import check_regular

LENGTH = 8  # bytes before the header that say how long it is


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
        with tempfile.TemporaryDirectory() as temporary:
            link = Path(temporary) / "linked.safetensors"
            link.symlink_to(file.absolute())
            yield link
    else:
        yield file


def save_tensors(content: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and metadata, in the order of their keys.

    safetensors writes such words in another order each time.
    """
    tensors.save_file(
        {name: tensor.contiguous() for name, tensor in content.items()},
        file,
        None if metadata is None else dict(metadata),
    )
    if metadata is None or len(metadata) < 2:
        return
    with file.open("r+b") as opened:
        length = int.from_bytes(opened.read(LENGTH), "little")
        header = json.loads(opened.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        again = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(again) <= length, "the same header is not longer in another order"
        opened.seek(LENGTH)
        opened.write(again.ljust(length))
