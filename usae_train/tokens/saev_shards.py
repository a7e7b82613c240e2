"""Activations that saev wrote: metadata.json, and acts000000.bin, ... of float32 (images, layers, tokens, width).

As version 0.1.0 and protocol 2.1 write them. Its metadata also holds a pickled data set, which is not read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from usae_train.files.json_files import read_named_object
from usae_train.files.regular import check_regular
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

METADATA = "metadata.json"
# What 0.1.0 calls it, and what protocol 2.1 does.
KEYS = {
    "images": ("n_imgs", "n_examples"),
    "tokens": ("n_patches_per_img", "content_tokens_per_example"),
    "per_shard": ("n_patches_per_shard", "max_tokens_per_shard"),
    "width": ("d_vit", "d_model"),
}
LARGEST_SIZE = 2**40  # of any of these numbers: their product does not overflow, and no file is so large


class Sizes(NamedTuple):
    """What metadata.json says of the files."""

    images: int
    tokens: int  # patches of an image, without the class token
    per_shard: int  # tokens of all layers, class tokens included
    width: int
    layers: list[int]
    class_token: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of every file, the last too: what is left of that is zeros."""
        tokens = self.tokens + self.class_token
        return self.per_shard // len(self.layers) // tokens, len(self.layers), tokens, self.width


def is_saev(place: Path) -> bool:
    """Whether a folder has such files."""
    return (place / METADATA).is_file() and any(place.glob("acts[0-9]*.bin"))


def read_saev(place: Path, layer: int | None) -> Tensor:
    """One layer's patch tokens (images, tokens, width); a single shard is mapped into memory, several are read.

    Args:
        place: the folder.
        layer: which layer; may be left out where there is one.

    Raises:
        ValueError: for a layer that was not written, or files that are broken.
    """
    sizes = read_sizes(place / METADATA)
    if layer is None and len(sizes.layers) > 1:
        raise UsageError(f"{place} has layers {layers_in_words(sizes)}; say which: {place}@{sizes.layers[-1]}")
    if layer is not None and layer not in sizes.layers:
        raise UsageError(f"{place} has no layer {layer}; it has {layers_in_words(sizes)}")
    which, first = 0 if layer is None else sizes.layers.index(layer), int(sizes.class_token)
    parts = []
    for number in range(math.ceil(sizes.images / sizes.shape[0])):
        n_left = sizes.images - number * sizes.shape[0]
        parts.append(map_shard(place / f"acts{number:06}.bin", sizes)[:n_left, which, first:])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def read_sizes(file: Path) -> Sizes:
    """What metadata.json says.

    Raises:
        ValueError: for a file that does not say it.
    """
    values, numbers = read_named_object(file), {}
    for name, keys in KEYS.items():
        number = next((values[key] for key in keys if key in values), None)
        if type(number) is not int or not 1 <= number < LARGEST_SIZE:
            raise UsageError(f"{file}: {' or '.join(keys)} is {number!r}; expected a whole number, 1 or more")
        numbers[name] = number
    layers, class_token = values.get("layers"), values.get("cls_token")
    if not isinstance(layers, list) or not layers or any(type(each) is not int for each in layers):
        raise UsageError(f"{file}: layers is {layers!r}; expected a list of whole numbers")
    if not isinstance(class_token, bool):
        raise UsageError(f"{file}: cls_token is {class_token!r}; expected true or false")
    sizes = Sizes(**numbers, layers=layers, class_token=class_token)
    if sizes.shape[0] < 1:
        raise UsageError(f"{file}: no picture fits into a file of {plural(sizes.per_shard, 'token')}")
    return sizes


def map_shard(file: Path, sizes: Sizes) -> Tensor:
    """A file's numbers, (images, layers, tokens, width); what is written to them does not reach the disk.

    Raises:
        ValueError: for a file that is missing or of another size.
    """
    expected = math.prod(sizes.shape) * 4
    if not file.is_file():
        raise UsageError(f"{file} is missing; copy the activations again")
    check_regular(file)
    if file.stat().st_size != expected:
        raise UsageError(f"{file} has {file.stat().st_size} bytes, and by {METADATA} {expected}; copy it again")
    return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="c", shape=sizes.shape))


def layers_in_words(sizes: Sizes) -> str:
    """The layers, for a message."""
    return ", ".join(map(str, sizes.layers))
