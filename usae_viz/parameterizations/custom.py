"""A custom parameterization: a module whose `forward` takes nothing and gives one picture."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from usae_train.images.colour import to_canvas
from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.part import CustomPart, failing_at
from usae_viz.custom_code.seeding import seeded_by

PARAMETERIZATION = "parameterization"
SLACK = 1e-3  # of 0..1: what rounding may leave it by
DEFAULT_LEARNING_RATE = 0.05  # Adam's, where a parameterization says none: lucent's


class CustomImages(nn.Module):
    """Canvases (len(seeds), 3, size, size) of custom modules, one for each picture.

    `part((1, 3, size, size), generator)` makes one. Its `forward()` gives a picture of that shape, 0..1; where it has
    `decorrelated = True`, in decorrelated logits. What leaves 0..1 later is cut off. Since each picture has a module of
    its own, with a generator of its own, none depends on what else is drawn.

    Args:
        part: what makes a module.
        seeds: one picture per seed.
        size: side of the canvas in pixels.

    Raises:
        ValueError: for what makes no module, or one without parameters or whose forward takes arguments.

    Example:
        >>> class Flat(nn.Module):
        ...     def __init__(self, shape, generator):
        ...         super().__init__()
        ...         self.colour = nn.Parameter(torch.rand(shape[:2] + (1, 1), generator=generator))
        ...
        ...     def forward(self):
        ...         return self.colour.expand(1, 3, 32, 32)
        >>> CustomImages(CustomPart.from_value(Flat), seeds=[0, 1], size=32)().shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, part: CustomPart, seeds: Sequence[int], size: int) -> None:
        super().__init__()
        self.part, self.size, self.is_checked = part, size, False
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.images = nn.ModuleList(self._make_image(generator) for generator in self.generators)

    def forward(self) -> Tensor:
        """Canvases (pictures, 3, size, size), 0..1.

        Raises:
            PartFailed: for a module that fails, or gives a picture of another shape or place; at first also for one
                that is not finite, not 0..1, or that no parameter has a part in. Says of which picture.
        """
        canvases = []
        for row, (image, generator) in enumerate(zip(self.images, self.generators, strict=True)):
            with failing_at(row):
                canvases.append(self._draw_image(image, generator))
        self.is_checked = True
        return torch.cat(canvases)

    @torch.no_grad()
    def begin_at(self, canvas: Tensor) -> Self:
        """Start every picture at a given one, (3, size, size), as its module's own `begin_at` does; returns itself.

        Raises:
            ValueError: where the module has none.
        """
        for image in self.images:
            begin = getattr(image, "begin_at", None)
            if not callable(begin):
                raise self._wrong("cannot start from a picture: it has no `begin_at(canvas)`; leave --start out")
            with self.part.guarded(PARAMETERIZATION):
                begin(canvas)
        return self

    def _make_image(self, generator: torch.Generator) -> nn.Module:
        make, shape = self.part.ready(PARAMETERIZATION), (1, 3, self.size, self.size)
        if isinstance(make, nn.Module):
            raise self._wrong("is an existing module; give its class, or a function that makes one for each picture")
        if not _takes(make, 2):
            raise self._wrong("is called with the shape (1, 3, H, W) and a generator, but takes other arguments")
        with self.part.guarded(PARAMETERIZATION), torch.enable_grad(), seeded_by(generator, torch.device("cpu")):
            image = make(shape, generator)
        if not isinstance(image, nn.Module):
            raise self._wrong(f"gives {type(image).__name__}; expected an nn.Module")
        if not any(parameter.requires_grad for parameter in image.parameters()):
            raise self._wrong("has no parameters: there is nothing to optimize; make them nn.Parameter")
        if not _takes(image.forward, 0):
            raise self._wrong("has a forward that takes arguments; expected forward(self), which gives the picture")
        return image

    def _draw_image(self, image: nn.Module, generator: torch.Generator) -> Tensor:
        place = next(image.parameters()).device
        with self.part.guarded(PARAMETERIZATION), seeded_by(generator, place):
            picture = image()
        shape = (1, 3, self.size, self.size)
        if not isinstance(picture, Tensor) or tuple(picture.shape) != shape or not picture.is_floating_point():
            raise self._wrong(f"gives {_describe(picture)}; expected {shape}, floating-point")
        if picture.device != place:
            raise self._wrong(
                f"gives a picture on {picture.device}, but is on {place}; register tensors that it uses as buffers"
            )
        canvas = to_canvas(picture.float()) if getattr(image, "decorrelated", False) else picture.float()
        if not self.is_checked:
            self._check_first(canvas)
        return canvas.clamp(0, 1)

    def _check_first(self, canvas: Tensor) -> None:
        if torch.is_grad_enabled() and not canvas.requires_grad:
            raise self._wrong("gives a picture that depends on none of its parameters")
        if not canvas.isfinite().all():
            raise self._wrong("gives numbers that are not finite")
        low, high = canvas.min().item(), canvas.max().item()
        if low < -SLACK or high > 1 + SLACK:
            raise self._wrong(
                f"gives {low:.3g} to {high:.3g}; expected 0..1: end with a sigmoid, or set `decorrelated = True`"
            )

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"{PARAMETERIZATION} {self.part.text!r} {why}")


def custom_learning_rate(part: CustomPart) -> float:
    """Adam's: what the class or function says as `learning_rate`, or 0.05.

    Raises:
        ValueError: for one that is not a number above 0.
    """
    rate = getattr(part.ready(PARAMETERIZATION), "learning_rate", DEFAULT_LEARNING_RATE)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise UsageError(f"{PARAMETERIZATION} {part.text!r} has learning_rate = {rate!r}; expected a number above 0")
    return float(rate)


def _takes(function: object, count: int) -> bool:
    """Whether something can be called with `count` arguments; true where it does not say."""
    try:
        inspect.signature(function).bind(*range(count))  # type: ignore[arg-type]
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    kind = "" if value.is_floating_point() else f" of {str(value.dtype).removeprefix('torch.')}"
    return f"shape {tuple(value.shape)}{kind}"
