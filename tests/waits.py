"""What makes a processor wait for a GPU, counted without one.

Models, tokens and canvases lie on torch's device `meta`, where code takes its GPU ways, shapes are worked out and
nothing is computed. What would have to be known before it goes on is made up, and counted: a number that is read, a
shape that depends on numbers (`nonzero`, an index of bools), a copy that is waited for, an error that is looked for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

SHAPES_OF_NUMBERS = {"nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "bincount"}
CHECK_CHUNK_SIZE = {"_linalg_check_errors", "_assert_scalar", "equal"}


class Waits(TorchDispatchMode):
    """Counts them while it is entered.

    Args:
        share: of so many numbers one is not zero.

    Attributes:
        found: {operation: how many times a processor would have waited there}.
    """

    def __init__(self, share: int = 2) -> None:
        super().__init__()
        self.share = share
        self.found: Counter[str] = Counter()
        self.numbers = _Numbers(self.found)

    def __enter__(self) -> Waits:
        self.numbers.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self.numbers.__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        there = [tensor for tensor in _tensors(args, kwargs) if tensor.device.type == "meta"]
        if name in ("_to_copy", "copy_"):
            return self._copied(func, name, args, kwargs)
        if not there:
            return func(*args, **kwargs)
        if name in ("_local_scalar_dense", "is_nonzero", *CHECK_CHUNK_SIZE):
            self.found[name] += 1
            return None if name == "_linalg_check_errors" else _made_up(args[0])
        if name in SHAPES_OF_NUMBERS:
            self.found[name] += 1
            return self._some_rows(name, args, kwargs)
        if name in ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"):
            return self._indexed(func, name, args, kwargs)
        if name == "_fused_adamw_":
            return None
        if name == "grid_sampler_2d":  # its own meta form takes a hundred operations
            return args[0].new_empty(*args[0].shape[:2], *args[1].shape[1:3])
        if name == "grid_sampler_2d_backward":
            return torch.empty_like(args[1]), torch.empty_like(args[2])
        if name == "_embedding_bag_per_sample_weights_backward":  # it has no meta form
            return args[0].new_empty(args[2].shape)
        return func(*args, **kwargs)

    def _copied(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        source = args[1] if name == "copy_" else args[0]
        target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
        waits = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        if target.type != source.device.type:
            self.found[f"copy from {source.device.type}"] += waits or target.type == "cpu"
            if target.type == "cpu":
                there = torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
                return args[0].copy_(there) if name == "copy_" else there
        return func(*args, **kwargs)

    def _indexed(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        indices = [index for index in args[1] if index is not None]
        # one number for a mask is torch's masked_fill
        filled = name.startswith("index_put") and args[2].numel() == 1 and args[2].device.type == "cpu"
        masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        if masks and not filled:
            self.found[f"{name} of bools"] += 1
        if any(index.device.type == "cpu" for index in indices) and not masks:
            self.found[f"{name} of the processor's"] += 1
        if masks and name.startswith(("index_put", "_index_put")):
            return args[0]
        if masks:
            args = (args[0], [self._rows_of(index) for index in args[1]], *args[2:])
        return func(*args, **kwargs)

    def _rows_of(self, index: Tensor | None) -> Tensor | None:
        if index is None or index.dtype != torch.bool:
            return index
        return torch.zeros(index.numel() // self.share, dtype=torch.long, device="meta")

    def _some_rows(self, name: str, args: Any, kwargs: Any) -> Any:
        if name == "bincount":
            return torch.empty(kwargs.get("minlength") or args[2], dtype=torch.long, device="meta")
        rows = torch.empty(args[0].numel() // self.share, max(1, args[0].ndim), dtype=torch.long, device="meta")
        if "unique" in name:
            return args[0].new_empty(1), rows[:, 0], rows[:1, 0]
        return rows if name == "nonzero" else args[0].new_empty(len(rows))


def _made_up(tensor: Tensor) -> float | int | bool:
    return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 1


class _Numbers(TorchFunctionMode):
    """Numbers of Python's that become a tensor there, which `Waits` is not told of."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in ("tensor", "as_tensor") and not isinstance(args[0], Tensor):
            self.found["tensor of numbers"] += torch.device(kwargs.get("device") or "cpu").type == "meta"
        if name in ("__getitem__", "__setitem__") and args[0].device.type == "meta":
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.found["index of numbers"] += any(isinstance(part, list) for part in index)
        return func(*args, **kwargs)


def _tensors(*found: Any) -> list[Tensor]:
    """Every tensor of an operation's arguments."""
    flat, left = list[Tensor](), list(found)
    while left:
        each = left.pop()
        if isinstance(each, Tensor):
            flat.append(each)
        elif isinstance(each, list | tuple):
            left.extend(each)
        elif isinstance(each, dict):
            left.extend(each.values())
    return flat
