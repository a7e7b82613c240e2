"""A pass that begins in the middle of a network: what comes before a module is skipped, and its output is given.

It depends on no model's code. Outputs of skipped parts are replaced by zeros that take no memory; a trial pass shows
that nothing after the module uses them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from usae_train.runtime.shortage import shortage

Pass = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class EarlierParts:
    """What a network runs before one of its modules."""

    module: nn.Module
    parts: Mapping[nn.Module, Any]  # {part: its output for one picture, tensors as shapes only}

    @contextmanager
    def skip(self, output: Tensor) -> Iterator[None]:
        """A context in which none of the parts runs, and the module returns `output`."""
        with ExitStack() as stack:
            for part, usual in self.parts.items():
                stack.enter_context(_replacing_output(part, lambda usual=usual: _blank(usual, output)))  # type: ignore[misc]
            stack.enter_context(_replacing_output(self.module, output.clone))  # what follows may write into it
            yield


def earlier_parts(model: nn.Module, module: nn.Module, run: Pass) -> EarlierParts | None:
    """What a model's pass runs before a module; None where what follows uses more than that module's output.

    Args:
        model: the network.
        module: one of its modules, which runs once in a pass.
        run: a pass of one picture, always the same.
    """
    earlier, output, plain = _recorded_pass(model, module, run)
    try:
        with earlier.skip(output):
            again = run()
    except RuntimeError as error:  # torch's own: something writes into the zeros, or a part is compiled
        if shortage(error) is not None:
            raise
        return None
    return earlier if torch.equal(again, plain) else None


def _recorded_pass(model: nn.Module, module: nn.Module, run: Pass) -> tuple[EarlierParts, Tensor, Tensor]:
    """The parts that run once each before a module; the module's output, and the pass's result."""
    outputs_before: dict[nn.Module, Any] = {}
    runs: Counter[nn.Module] = Counter()
    outputs: list[Tensor] = []

    def note(part: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        runs[part] += 1
        if part is module:
            outputs.append(output.clone())
        elif not outputs:
            outputs_before[part] = output

    with ExitStack() as stack:
        for part in (module, *_beside(model, module)):
            stack.callback(part.register_forward_hook(note).remove)
        plain = run()
    once = {part: output for part, output in outputs_before.items() if runs[part] == 1}
    return EarlierParts(module, {part: _shape(output) for part, output in once.items()}), outputs[0], plain


def _beside(model: nn.Module, module: nn.Module) -> list[nn.Module]:
    """The largest parts of a model that do not contain a module: the other children of all that do."""
    path = next(name for name, part in model.named_modules() if part is module)
    parts, holder = list[nn.Module](), model
    for step in path.split(".") if path else ():
        parts += [child for name, child in holder.named_children() if name != step]
        holder = holder.get_submodule(step)
    return parts


def _shape(output: Any) -> Any:
    """A part's output, its tensors without their memory."""
    if isinstance(output, Tensor):
        return output.to("meta")
    return tuple(map(_shape, output)) if isinstance(output, tuple) else output


def _blank(shape: Any, like: Tensor) -> Any:
    """Zeros of such a shape, on another tensor's device; a single number, expanded."""
    if isinstance(shape, Tensor):
        return torch.zeros((), dtype=shape.dtype, device=like.device).expand(shape.shape)
    return tuple(_blank(each, like) for each in shape) if isinstance(shape, tuple) else shape


@contextmanager
def _replacing_output(module: nn.Module, make: Callable[[], Any]) -> Iterator[None]:
    """A context in which a module returns what a function makes, whatever its inputs."""
    forward = vars(module).get("forward")
    module.forward = lambda *_, **__: make()
    try:
        yield
    finally:
        if forward is None:
            del module.forward
        else:
            module.forward = forward
