"""Checks of the tensors in a USAE's files, before memory is taken for them or anything uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.tensor_files import safe_open
from usae_train.model.config import UsaeConfig
from usae_train.model.statistics import LEVELS, Statistics
from usae_train.runtime.errors import UsageError

FLOAT_NAMES = ("F64", "F32", "F16", "BF16")  # as safetensors calls them
MEASURE_AGAIN = "remove it, and measure again with usae-train evaluate"
Shape = tuple[int, ...]


def check_weights_form(file: Path, config: UsaeConfig) -> None:
    """Compare the header of a model.safetensors with config.json.

    Raises:
        ValueError: for a missing or superfluous tensor, one of another shape, or not of floating-point numbers; for a
            broken file.
    """
    try:
        with safe_open(file, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # it is not a mapping
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            wrong = [name for name, part in slices.items() if part.get_dtype() not in FLOAT_NAMES]
            wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is broken or incomplete ({error}); save or copy the USAE again") from error
    expected = weight_shapes(config, shapes)
    for name in sorted(expected.keys() | shapes.keys()):
        if shapes.get(name) != expected.get(name):
            has, should = (f"is {s[name]}" if name in s else "is none" for s in (shapes, expected))
            raise UsageError(
                f"{file} is broken or incomplete: {name} {has}, and by config.json it should be "
                f"{should.removeprefix('is ')}; save or copy the USAE again"
            )
    if wrong:
        raise UsageError(f"{file} is broken: {wrong[0]} holds no floating-point numbers; save or copy the USAE again")


def weight_shapes(config: UsaeConfig, present: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of every tensor of a USAE; `present` decides which of the three forms of `Standardization` it has."""
    n_concepts, shapes = config.n_concepts, dict[str, Shape]()
    threshold = config.sparsity.threshold_shape(n_concepts)
    for name, width in config.widths.items():
        encoder, dictionary, scale = f"encoders.{name}.", f"dictionaries.{name}.", f"scales.{name}."
        shapes |= {f"{encoder}linear.weight": (n_concepts, width), f"{encoder}linear.bias": (n_concepts,)}
        shapes |= {f"{dictionary}weight": (n_concepts, width), f"{dictionary}offset": (width,)}
        if config.batch_norm:
            of_each = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"{encoder}norm.{part}": (n_concepts,) for part in of_each}
            shapes[f"{encoder}norm.num_batches_tracked"] = ()
        if f"{scale}matrix" in present:
            square = (width, width)
            shapes |= {f"{scale}mean": (width,), f"{scale}matrix": square, f"{scale}inverse_matrix": square}
        elif present.get(f"{scale}mean") == (width,) and f"{scale}std" not in present:
            shapes[f"{scale}mean"] = (width,)
        else:
            shapes |= {f"{scale}mean": (), f"{scale}std": ()}
        if threshold is not None:
            shapes[f"thresholds.{name}"] = threshold
    return shapes


def check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights with a NaN or an infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UsageError(f"{file}: {name} has values that are NaN or infinite; save or copy the USAE again")


def check_statistics_form(
    file: Path, statistics: Statistics, names: Sequence[str], n_concepts: int, grid: tuple[int, int] | None
) -> None:
    """Compare statistics with the sizes of their USAE.

    Raises:
        ValueError: for a figure of another shape or kind, or with impossible numbers; says which.
    """
    shape = (len(names), n_concepts)
    if tuple(statistics.fires.shape) != shape:
        raise UsageError(
            f"{file} has {tuple(statistics.fires.shape)} backbones and concepts, the USAE {shape}; {MEASURE_AGAIN}"
        )
    top = statistics.top_images.shape[-1] if statistics.top_images.ndim else 0
    expected: dict[str, Shape] = {
        "fires": shape,
        "co_fires": shape[1:],
        "energy": shape,
        "quantiles": (*shape, len(LEVELS)),
        "top_images": (*shape, top),
        "top_tokens": (*shape, top),
        "counts": (2,),
    }
    if statistics.auroc is not None:
        expected["auroc"] = (shape[0], statistics.auroc.shape[1] if statistics.auroc.ndim == 3 else 1, shape[1])
    for name, expected_shape in expected.items():
        figure: Tensor = getattr(statistics, name)
        if tuple(figure.shape) != expected_shape:
            raise UsageError(
                f"{file}: {name} is {tuple(figure.shape)}, and should be {expected_shape}; {MEASURE_AGAIN}"
            )
    for part in fields(statistics):
        figure = getattr(statistics, part.name)
        if figure is not None and (why := _impossible(part.name, figure, grid)):
            raise UsageError(f"{file}: {part.name} {why}; {MEASURE_AGAIN}")


def _impossible(name: str, figure: Tensor, grid: tuple[int, int] | None) -> str:
    """What is impossible in a figure's numbers, in words; empty where nothing is."""
    if name in ("energy", "quantiles", "auroc"):
        if not figure.is_floating_point():
            return f"is of {figure.dtype}, not floating-point numbers"
        if figure.isinf().any() or (figure < 0).any() or (name == "energy" and figure.isnan().any()):
            return "has numbers below 0, NaN or infinite"
        return "has numbers above 1" if name == "auroc" and (figure > 1).any() else ""
    if figure.is_floating_point() or figure.is_complex() or figure.dtype == torch.bool:
        return f"is of {figure.dtype}, not whole numbers"
    if (figure < (-1 if name == "top_images" else 0)).any():
        return "has numbers below 0"
    if name == "top_tokens" and grid is not None and (figure >= grid[0] * grid[1]).any():
        return f"has numbers beyond the grid's {grid[0]} x {grid[1]}"
    return ""
