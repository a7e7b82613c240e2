"""Paired tokens in files of other programs: .npy, .safetensors, or saev's shards; row n is the same place in all."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.backbones.names import check_name
from usae_train.files.place_names import path_of_name
from usae_train.files.regular import check_regular
from usae_train.files.tensor_files import load_file
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import one_line
from usae_train.runtime.sampling import drawn_numbers, measured_numbers
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.places import EXPECTED_TOKENS, named_tokens, names_tokens
from usae_train.tokens.saev_shards import is_saev, read_saev

MEASURED_TOKENS = 20_000  # bare tokens are kept one per row while they are measured: rows x concepts numbers
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FINGERPRINTED_TOKENS = 1024  # rows of a backbone that tell these tokens from others


@dataclass(frozen=True)
class TokenTables:
    """Tokens of several backbones: (n, width), or `by_image`, where it is known, (image, token, width)."""

    tokens: dict[str, Tensor]
    by_image: bool = False

    @functools.cached_property  # what is not laid out in one piece is copied: once
    def flat(self) -> dict[str, Tensor]:
        """{backbone: (n, width)}."""
        return {name: values.flatten(0, 1) for name, values in self.tokens.items()} if self.by_image else self.tokens

    def sample(self) -> Iterator[PairedTokens]:
        """What statistics are measured on: 10,000 images at most, or 20,000 bare tokens, drawn from all."""
        count = len(next(iter(self.tokens.values())))
        rows = measured_numbers(count) if self.by_image else drawn_numbers(count, MEASURED_TOKENS)
        yield PairedTokens({n: t[rows] if self.by_image else t[rows, None] for n, t in self.tokens.items()}, rows)

    def identity(self) -> dict[str, Any]:
        """What tells these tokens from others, for training states: shapes, and a hash of some rows."""
        digests = {}
        for name, values in self.flat.items():
            count = min(FINGERPRINTED_TOKENS, len(values))
            spaced = torch.linspace(0, len(values) - 1, count, dtype=torch.double).long()
            digests[name] = hashlib.sha256(values[spaced].float().numpy().tobytes()).hexdigest()
        return {"tokens": {name: list(values.shape) for name, values in self.tokens.items()}, "rows": digests}


def tokens_to_fit(
    place: str, backbones: str | None, limit: int | None, verify_checksums: bool = False
) -> TokenTables | None:
    """The tokens that a command is given; None where it is given a store or pictures.

    Raises:
        ValueError: for files that are not tokens, or options of pictures or a store with tokens.
    """
    if not names_tokens(place):
        return None
    if backbones is not None or limit is not None or verify_checksums:
        raise UsageError(
            f"{place} is tokens already; --backbones, --limit and --verify-checksums are for pictures and stores"
        )
    return read_tokens(place)


def read_tokens(place: str) -> TokenTables:
    """Read what `names_tokens` recognizes; .npy files and single shards are mapped, so they may exceed the memory.

    Raises:
        ValueError: for files that are not tokens, or that do not pair; says which.
    """
    if (place_of := named_tokens(place)) is not None:
        tokens = {name: read_one(where) for name, where in place_of.items()}
    elif place.endswith(".npy"):
        raise UsageError(f"{place} has the tokens of one backbone and does not say which; {EXPECTED_TOKENS}")
    else:
        tokens = tensors_of(path_of_name(place))
    for name, values in tokens.items():
        check_name(name)
        if values.ndim not in (2, 3) or values.numel() == 0:
            raise UsageError(
                f"{name}: tokens are {tuple(values.shape)}; expected (n, width) or (images, tokens, width)"
            )
        if values.dtype not in FLOAT_DTYPES:
            kind = str(values.dtype).removeprefix("torch.")
            raise UsageError(f"{name}: tokens are {kind}; expected floating-point numbers")
    check_pairs(tokens)
    return TokenTables(tokens, next(iter(tokens.values())).ndim == 3)


def check_pairs(tokens: dict[str, Tensor]) -> None:
    """Refuse tokens whose rows cannot be the same places.

    Raises:
        ValueError: with the rows of all.
    """
    rows = {name: tuple(values.shape[:-1]) for name, values in tokens.items()}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in rows.items())
        raise UsageError(f"rows differ: {listed}; row n must be the same patch of the same picture in all")


def read_one(place: str) -> Tensor:
    """One backbone's tokens: a .npy file, a .safetensors file of one tensor, or a folder of saev's (`FOLDER@LAYER`).

    Raises:
        ValueError: for a broken file, or anything else.
    """
    folder, _, layer = place.rpartition("@")
    if folder and layer.lstrip("-").isdigit() and path_of_name(folder).is_dir():
        return read_saev_folder(path_of_name(folder), int(layer))
    path = path_of_name(place)
    if path.is_dir():
        return read_saev_folder(path, None)
    if not path.is_file():
        raise UsageError(f"there is no {place}; {EXPECTED_TOKENS}")
    if path.suffix == ".npy":
        return read_npy(path)
    if path.suffix == ".safetensors":
        tensors = tensors_of(path)
        if len(tensors) != 1:
            raise UsageError(
                f"{place} has tensors {', '.join(tensors) or 'of no name'}; expected one, of this backbone"
            )
        return next(iter(tensors.values()))
    raise UsageError(f"{place} is not a file of tokens; {EXPECTED_TOKENS}")


def read_saev_folder(folder: Path, layer: int | None) -> Tensor:
    """As `read_saev`; a ValueError for a folder that is not one."""
    if not is_saev(folder):
        raise UsageError(f"{folder} has no activations of saev (metadata.json and acts000000.bin); {EXPECTED_TOKENS}")
    return read_saev(folder, layer)


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, by name; a ValueError for one that is broken or has none."""
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is broken or not a .safetensors file ({error})") from error
    if not tensors:
        raise UsageError(f"{file} has no tensors; expected one per backbone")
    return tensors


def read_npy(file: Path) -> Tensor:
    """A .npy file, mapped into memory; what is written to it does not reach the disk. Nothing is unpickled.

    Raises:
        ValueError: for a file that is broken, or of anything but float16, float32 or float64.
    """
    check_regular(file)
    try:
        with file.open("rb") as opened:
            version = np.lib.format.read_magic(opened)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, kind = read(opened)
        if kind.hasobject:
            raise UsageError(f"{file} holds Python objects, which only unpickling could read; save numbers: float32")
        if kind.kind != "f" or kind.itemsize not in (2, 4, 8) or not kind.isnative:
            raise UsageError(f"{file} holds {kind}; expected float16, float32 or float64 in this machine's byte order")
        return torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))
    except UsageError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"{file} is broken or not a .npy file ({one_line(error)[:120]})") from error
