"""Weight files: their tensors by name, and in one line what a file is that has none, or none that fit.

Nothing in a file is run: a .safetensors file is read by safetensors, any other by torch with `weights_only`, and where
that refuses, so do we.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.backbones.weight_names import state_of
from usae_train.files.binary import is_picture_content
from usae_train.files.tensor_files import load_file
from usae_train.files.torch_state import read_torch_file
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line
from usae_train.runtime.shortage import shortage

EXPECTED_FILE = "expected a .safetensors or .pth file of tensors by name"


def read_weights(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, whatever key they lie under.

    Args:
        name: the backbone's, for messages.
        path: a .safetensors file, or one that torch wrote.

    Raises:
        ValueError: for a file that is missing, broken, of another kind, without tensors, or with several networks.
    """
    content = read_content(name, path)
    try:
        weights = state_of(content)
    except UsageError as error:
        raise UsageError(f"{name}: {path} {error}") from error
    if (fault := not_plain(weights)) is not None:
        raise UsageError(f"{name}: {path}: {fault}; save plain tensors")
    return weights


def read_content(name: str, path: Path) -> Any:
    """What lies in a file, read without running anything.

    Raises:
        ValueError: for a file that is missing, broken or of another kind.
    """
    if not path.is_file():
        raise UsageError(f"{name}: no weight file at {str(path)!r}; expected a .safetensors or .pth file")
    with _damage_in_words(f"{name}: {path}"), path.open("rb") as opened:
        begin = opened.read(64)
    if (kind := _another_kind(name, path, begin)) is not None:
        raise UsageError(f"{name}: {path} is {kind}; {EXPECTED_FILE}")
    if path.suffix == ".safetensors":
        with _damage_in_words(f"{name}: {path}"):
            return load_file(path)
    with torch.serialization.safe_globals([argparse.Namespace]):  # timm's own training files keep their options so
        return read_torch_file(path, f"{name}: {path}", "weight file")


def read_release(name: str, path: Path) -> Mapping[str, Any]:
    """All that the file of a release of timm's own holds: timm's converters look for keys beside the tensors' names.

    Raises:
        ValueError: for a file that is missing, broken or of another kind, or holds nothing by name.
    """
    content = read_content(name, path)
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"{name}: {path} holds no tensors by name; remove it to download it again")
    return content


def not_plain(weights: Mapping[str, Any]) -> str | None:
    """The first tensor that has no plain numbers in memory, in words: sparse, quantized, complex, of device meta."""
    for key, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.is_quantized:
            return f"{key} is quantized"
        if tensor.layout != torch.strided:
            return f"{key} is sparse"
        if tensor.is_meta:
            return f"{key} has a shape and no values (device meta)"
        if tensor.is_complex():
            return f"{key} is complex"
    return None


@contextmanager
def _damage_in_words(where: str) -> Iterator[None]:
    """What Python's, safetensors' and zipfile's readers raise of a broken file as one line; they alone are called."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # a broken file can raise anything
        if shortage(error) is not None:  # which says nothing of the file
            raise
        raise UsageError(f"{where} is not a readable weight file ({first_line(error)}); it may be cut short") from error


def _another_kind(name: str, path: Path, begin: bytes) -> str | None:
    """What a file is that cannot be a weight file, in words."""
    if is_picture_content(begin):
        return "a picture"
    if path.suffix == ".onnx" or (begin[:1] == b"\x08" and re.search(rb"onnx|pytorch|tf2onnx", begin)):
        return "an ONNX file, whose tensors have other names"
    if begin.startswith(b"\x89HDF"):
        return "an HDF5 file"
    if begin.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, without the file itself (git lfs pull)"
    if begin.startswith(b"PK"):
        with _damage_in_words(f"{name}: {path}"):
            names = _names_in_zip(path)
        if names is not None:
            return _kind_of_zip(path, names)
    if path.suffix != ".safetensors" and begin[8:9] == b"{":
        return "a safetensors file by its content; name it .safetensors"
    return None


def _names_in_zip(path: Path) -> list[str] | None:
    """What a zip archive holds; None for what is none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as opened:
        return opened.namelist()


def _kind_of_zip(path: Path, names: Sequence[str]) -> str | None:
    if any(part.endswith("constants.pkl") for part in names):
        return "a TorchScript program"
    if names and all(part.endswith(".npy") for part in names):
        return "a NumPy file"
    if not any(part.endswith("data.pkl") for part in names):
        return "a zip archive of something else"
    return "a file of torch's by its content; name it .pth" if path.suffix == ".safetensors" else None
