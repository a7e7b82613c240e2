"""Public functions give the same result whatever defaults a caller has set in torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
DEVICES = ("cpu", "cuda")  # whose autocast is asked for


@contextmanager
def use_torch_defaults(gradients: bool = True) -> Iterator[None]:
    """Within it torch makes float32 on the CPU where no other dtype is given, without autocast.

    Args:
        gradients: also keep gradients, under `no_grad` and `inference_mode` too; else that stays as the caller has it.
    """
    with ExitStack() as stack:
        if gradients and torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if gradients and not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.empty(0).device.type != "cpu":  # torch 2.6's get_default_device knows nothing of `with torch.device`
            stack.enter_context(torch.device("cpu"))
        before = torch.get_default_dtype()
        if before != torch.float32:
            stack.callback(torch.set_default_dtype, before)
            torch.set_default_dtype(torch.float32)
        yield


def with_torch_defaults(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Make a function, also one that yields, run with torch as it starts, gradients too."""

    @wraps(function)
    def alone(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with use_torch_defaults():
            return function(*map(_trainable, args), **{key: _trainable(each) for key, each in kwargs.items()})

    @wraps(function)
    def each(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
        with use_torch_defaults():
            items = iter(function(*map(_trainable, args), **{k: _trainable(v) for k, v in kwargs.items()}))  # type: ignore[call-overload]
        try:
            while True:
                with use_torch_defaults():
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item
        finally:
            items.close()

    return each if inspect.isgeneratorfunction(function) else alone


def with_default_dtype(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Make a function compute as torch starts; whether it keeps a gradient is the caller's to say."""

    @wraps(function)
    def alone(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with use_torch_defaults(gradients=False):
            return function(*args, **kwargs)

    return alone


def _trainable(argument: Any) -> Any:
    """A tensor that was made in inference mode, or those of a mapping, as ones that gradients may go through."""
    if isinstance(argument, Tensor) and argument.is_inference():
        return argument.clone()
    if isinstance(argument, Mapping) and any(isinstance(each, Tensor) for each in argument.values()):
        return {key: _trainable(each) for key, each in argument.items()}
    return argument
