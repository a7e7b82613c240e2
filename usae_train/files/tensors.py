"""Tensors with words about them in one .safetensors file, equal to the byte whenever it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

LENGTH = 8  # bytes before the header that say how long it is


def save_tensors(tensors: Mapping[str, Tensor], file: Path, about: Mapping[str, str] | None = None) -> None:
    """Write tensors, and what is said about them, in the order of their keys.

    safetensors writes such words in another order each time.
    """
    save_file({name: own.contiguous() for name, own in tensors.items()}, file, None if about is None else dict(about))
    if about is None or len(about) < 2:
        return
    with file.open("r+b") as opened:
        length = int.from_bytes(opened.read(LENGTH), "little")
        header = json.loads(opened.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        again = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(again) <= length, "the same header is not longer in another order"
        opened.seek(LENGTH)
        opened.write(again.ljust(length))
