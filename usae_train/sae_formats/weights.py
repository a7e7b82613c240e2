"""The tensors of a foreign file, each taken by name and shape; a tensor that was not taken is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.backbones.weight_files import not_plain
from usae_train.files.tensor_files import load_file
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line


class Weights:
    """Tensors to be taken by name.

    Args:
        tensors: what the file holds.
        file: its name, for messages.

    Raises:
        ValueError: for anything but plain tensors by name.
    """

    def __init__(self, tensors: Any, file: Path) -> None:
        if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise UsageError(f"{file} holds no tensors by name; expected a state dict")
        if (fault := not_plain(tensors)) is not None:
            raise UsageError(f"{file}: {fault}; expected plain tensors")
        self.file, self._left = file, dict(tensors)
        self.rounded = sorted(
            {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.itemsize == 2}
        )

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def names(self) -> list[str]:
        """The names that are left."""
        return list(self._left)

    def take(self, key: str, *shape: int | None) -> Tensor:
        """A tensor of a shape, where None stands for any length from 1, in float32.

        Raises:
            ValueError: when it is missing, of another shape, or has numbers that are not finite floating-point ones.
        """
        tensor = self._left.pop(key, None)
        expected = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
        if tensor is None:
            raise UsageError(f"{self.file}: {key} is missing; expected one of {expected}")
        fits = tensor.ndim == len(shape) and all(w in (None, f) for w, f in zip(shape, tensor.shape, strict=True))
        if not fits or 0 in tensor.shape:
            raise UsageError(f"{self.file}: {key} is {tuple(tensor.shape)}; expected {expected}")
        if not tensor.is_floating_point():
            raise UsageError(f"{self.file}: {key} holds no floating-point numbers ({tensor.dtype})")
        if not tensor.isfinite().all():
            raise UsageError(f"{self.file}: {key} has values that are NaN or infinite; take another one")
        floats: Tensor = tensor.float()
        return floats

    def count(self, key: str, most: int) -> int:
        """A whole number between 1 and `most` that a tensor holds.

        Raises:
            ValueError: for anything else.
        """
        number = self._left.pop(key, None)
        if number is None or number.numel() != 1 or number.dtype == torch.bool or not 1 <= number.item() <= most:
            what = "missing" if number is None else number.tolist() if number.numel() == 1 else tuple(number.shape)
            raise UsageError(f"{self.file}: {key} is {what}; expected a number of 1 to {most}")
        return int(number.item())

    def drop(self, *keys: str) -> None:
        """Ignore tensors that have no effect."""
        for key in keys:
            self._left.pop(key, None)

    def done(self, what: str) -> tuple[str, ...]:
        """Check that no tensor is left; returns a note if the tensors have a lower precision.

        Raises:
            ValueError: for tensors that `what` does not have.
        """
        if self._left:
            names = ", ".join(sorted(self._left)[:3])
            raise UsageError(f"{self.file}: {what} has no {names}; it is another kind, and computes differently")
        if not self.rounded:
            return ()
        return (f"its tensors are {self.rounded[0]}: it is computed in float32 here, where the library rounds",)


def read_tensors(file: Path) -> Weights:
    """The tensors of a safetensors file.

    Raises:
        ValueError: for one that is missing or broken.
    """
    try:
        return Weights(load_file(file), file)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is broken or incomplete ({first_line(error)}); save or copy it again") from error


def config_word(word: Any) -> str:
    """A word of a config, or the JSON of another value."""
    return word if isinstance(word, str) else json.dumps(word)


def check_count(number: Any, key: str, file: Path, most: int) -> int:
    """A whole number of a config, from 1 to `most`.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise UsageError(f"{file}: {key} is {number!r}; expected a whole number of 1 to {most}")
    return number


def check_config_sizes(config: Mapping[str, Any], sizes: Mapping[str, int], file: Path) -> None:
    """Refuse a config that states another size than its tensors have."""
    for key, size in sizes.items():
        if config.get(key, size) != size:
            raise UsageError(f"{file}: its config says {key} {config[key]!r}, and its tensors have {size}")
