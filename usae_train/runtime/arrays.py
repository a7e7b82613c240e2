"""NumPy arrays where tensors go: taken as they are, without a copy where that can be."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usae_train.runtime.errors import UsageError

Array = Tensor | NDArray[Any]


def is_array(value: Any) -> TypeGuard[Array]:
    """Whether something is a tensor or a NumPy array."""
    return isinstance(value, Tensor | np.ndarray)


def floats_of(numbers: Array, what: str, device: torch.device | None = None) -> Tensor:
    """A tensor of floating-point numbers; of an array of float64 or longer numbers, in float32, as torch starts.

    Args:
        numbers: a tensor, which is given back as it is, or an array.
        what: its name in a message.
        device: where an array's numbers are to be; the CPU by default.

    Raises:
        ValueError: for what is neither, or an array of other numbers.
    """
    if isinstance(numbers, Tensor):
        return numbers
    if not isinstance(numbers, np.ndarray):
        raise UsageError(f"{what} of type {type(numbers).__name__}; expected a tensor or a NumPy array")
    if numbers.dtype.kind != "f":
        raise UsageError(f"{what} of {numbers.dtype}; expected floating-point numbers")
    if numbers.dtype.itemsize > 4 or not numbers.dtype.isnative:
        numbers = numbers.astype(np.float32)
    return tensor_over(numbers).to(device)


def tensor_over(numbers: NDArray[Any]) -> Tensor:
    """A tensor over an array's own memory; over a copy's where torch cannot: of other strides, or not to be written."""
    numbers = np.ascontiguousarray(numbers)
    return torch.from_numpy(numbers if numbers.flags.writeable else numbers.copy())
