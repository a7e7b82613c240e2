"""Tensors from a state on a disk: whether they are what they should be, before anything takes them over.

torch takes an optimizer's moments of any size, and reads past their end: a state that was damaged would end the process
by a signal, or go on silently as something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.runtime.errors import UsageError


class Damaged(UsageError):
    """A state that is not of the form that it should have; says which part."""


def check_tensors(tensors: Any, expected: Mapping[str, Tensor], what: str) -> None:
    """Check that tensors have the names, shapes and kinds that are expected, and finite numbers.

    Raises:
        Damaged: when they have not.
    """
    if not isinstance(tensors, Mapping) or tensors.keys() != expected.keys():
        raise Damaged(f"{what} has other tensors")
    for name, template in expected.items():
        check_tensor(tensors[name], template.shape, template.dtype, f"{what}: {name}")


def check_tensor(tensor: Any, shape: Iterable[int | None], dtype: torch.dtype, what: str) -> Tensor:
    """Check one tensor; where the shape has None any length does.

    Raises:
        Damaged: for another shape or kind, or values that are NaN or infinite.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        raise Damaged(f"{what} is not a tensor of numbers")
    expected = tuple(shape)
    fits = tensor.ndim == len(expected) and all(w in (None, f) for w, f in zip(expected, tensor.shape, strict=True))
    if not fits or tensor.dtype != dtype:
        raise Damaged(f"{what} is {tuple(tensor.shape)} of {tensor.dtype}; expected {expected} of {dtype}")
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise Damaged(f"{what} has values that are NaN or infinite")
    return tensor


def check_within(numbers: Tensor, low: int, high: int, what: str) -> None:
    """Refuse whole numbers of which one is under `low`, or `high` or more."""
    if numbers.numel() and not (int(numbers.min()) >= low and int(numbers.max()) < high):
        raise Damaged(f"{what} has {int(numbers.min())} to {int(numbers.max())}; expected {low} to {high - 1}")


def moments_of(
    state: Any, optimizer: torch.optim.Optimizer, what: str
) -> tuple[list[Tensor], Mapping[int, Mapping[str, Any]]]:
    """An optimizer's parameters, and what a `state_dict` keeps of some of them, by their numbers.

    Raises:
        Damaged: when it keeps nothing, or something of others.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    saved = state.get("state") if isinstance(state, Mapping) else None
    if not isinstance(saved, Mapping) or not saved.keys() <= set(range(len(parameters))):
        raise Damaged(f"{what} has moments of other parameters")
    return parameters, saved


def check_moment_sizes(state: Any, optimizer: torch.optim.Optimizer, what: str) -> None:
    """Check that an optimizer's moments have the shapes of its parameters, whichever optimizer it is.

    Raises:
        Damaged: when one has not.
    """
    parameters, saved = moments_of(state, optimizer, what)
    for number, moments in saved.items():
        for name, moment in moments.items() if isinstance(moments, Mapping) else ():
            if isinstance(moment, Tensor) and moment.ndim and moment.shape != parameters[number].shape:
                raise Damaged(f"{what}: parameter {number}: {name} is {tuple(moment.shape)}")
