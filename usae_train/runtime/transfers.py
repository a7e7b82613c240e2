"""Transfers between the processor and a GPU without either waiting for the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device; where that is another, the copy is started and not waited for.

    CUDA waits for all that it was asked before when memory that is not page-locked is copied.
    """
    target = torch.device(device)
    if target.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    waits = target.type in ("cpu", "mps")  # where what is not there yet, or no longer, could be read
    return tensor.to(target, non_blocking=not waits)


def index_of(rows: Sequence[int], device: torch.device) -> slice | Tensor:
    """Rows as something to index a tensor of a device with: a slice where they follow each other."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return to_device(torch.tensor(rows), device)


def read_numbers(*tensors: Tensor) -> list[list[float]]:
    """The numbers of each tensor, read from its device in one go: a GPU is waited for once."""
    exact = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    numbers: list[float] = torch.cat([tensor.detach().flatten().to(exact) for tensor in tensors]).tolist()
    ends = [sum(tensor.numel() for tensor in tensors[: count + 1]) for count in range(len(tensors))]
    return [numbers[end - tensor.numel() : end] for tensor, end in zip(tensors, ends, strict=True)]
