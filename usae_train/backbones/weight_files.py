"""Weight files: their tensors by name, and in one line what a file is that has none, or none that fit."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from timm.models import load_state_dict
from torch import Tensor

PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")  # how their files begin
EXPECTED = "expected a .safetensors or .pth file of tensors by name"


def read_weights(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, whatever key they lie under.

    Args:
        name: the backbone's, for messages.
        path: a .safetensors file, or one that torch wrote.

    Raises:
        ValueError: for a file that is missing, broken, of another kind, or without tensors; nothing in it is run.
    """
    if not path.is_file():
        raise ValueError(f"{name}: no weight file at {str(path)!r}; expected a .safetensors or .pth file")
    if kind := _another_kind(path):
        raise ValueError(f"{name}: {path} is {kind}; {EXPECTED}")
    try:
        weights = load_state_dict(str(path), weights_only=True)
    except AttributeError as error:  # timm asks whatever it finds for its items
        raise ValueError(f"{name}: {path} holds no tensors by name; {EXPECTED}") from error
    except Exception as error:  # a broken file can raise anything, from four libraries
        if isinstance(error.__cause__ or error, pickle.UnpicklingError):
            raise ValueError(
                f"{name}: {path} is no file of tensors alone, and nothing that can run code is loaded"
            ) from error
        raise ValueError(
            f"{name}: {path} is no readable weight file ({first_line(error)}); it may be cut short"
        ) from error
    tensors = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    nested = [str(key) for key, value in weights.items() if isinstance(value, Mapping)]
    if not tensors and nested:
        raise ValueError(f"{name}: {path} holds {', '.join(nested)}; save the one that you mean as a file of its own")
    if not tensors:
        raise ValueError(f"{name}: {path} has no tensors in it; {EXPECTED}")
    return tensors


def _another_kind(path: Path) -> str | None:
    """What a file is that cannot be a weight file, in words."""
    with path.open("rb") as opened:
        begin = opened.read(64)
    if begin.startswith(PICTURES) or begin[8:12] == b"WEBP":
        return "a picture"
    if path.suffix == ".onnx" or (begin[:1] == b"\x08" and re.search(rb"onnx|pytorch|tf2onnx", begin)):
        return "an ONNX file, whose tensors have other names"
    if begin.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as opened_zip:
            names = opened_zip.namelist()
        if any(part.endswith("constants.pkl") for part in names):
            return "a TorchScript program"
        if names and all(part.endswith(".npy") for part in names):
            return "a NumPy file"
    return None


def misfit(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Why tensors cannot be a model's, in words; None where it does not show from names and shapes."""
    shared = [key for key in own if key in weights]
    if not shared:
        return (
            f"none of its {len(weights)} names is one of the model's: it has {next(iter(weights))!r}, the model "
            f"{next(iter(own))!r}; give it timm's names, or the model that it is of"
        )
    if lacking := [key for key in own if key not in weights]:
        return f"it lacks {len(lacking)} tensors, {lacking[0]!r} first"
    for key in shared:
        if weights[key].shape != own[key].shape:
            found, expected = tuple(weights[key].shape), tuple(own[key].shape)
            return f"{key} has the shape {found}, and the model's {expected}: it is of another model or size"
    return None


def beyond(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """The first tensor of a block that the model has not: its blocks' numbers end before."""
    known = {own_part for key in own for own_part in _numbered(key)}
    stems = {stem for stem, _ in known}
    for key in weights:
        for stem, number in _numbered(key):
            if stem in stems and (stem, number) not in known:
                return key
    return None


def _numbered(key: str) -> list[tuple[str, str]]:
    """("blocks", "3") and the like: each number in a tensor's name, with what stands before it."""
    parts = key.split(".")
    return [(".".join(parts[:place]), part) for place, part in enumerate(parts) if part.isdecimal()]


def first_line(error: BaseException) -> str:
    """What an error of another library says, cut short; where its first line only announces, with what follows."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    told = " ".join(line.strip() for line in lines[:2]) if lines[0].rstrip().endswith(":") else lines[0]
    return told[:200]
