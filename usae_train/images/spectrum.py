"""The spectrum of natural pictures: what MACO holds a drawn picture's magnitudes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.files.tensor_files import load_file, save_tensors
from usae_train.images.colour import from_canvas
from usae_train.images.sources import ImageSource, readable_batches
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults

MIN_SIZE = 16  # side in pixels, as of a canvas


@with_torch_defaults
def mean_magnitude(
    source: ImageSource,
    size: int,
    progress: CountCallback = lambda done, total: None,
    device: torch.device | str = "cpu",
    failure: Callable[[str], None] = lambda why: None,
    readers: int = 0,
) -> Tensor:
    """Mean |rfft2| (orthonormal) of pictures in decorrelated logits: (3, size, size // 2 + 1).

    Args:
        source: the pictures.
        size: the side in pixels that they are read at.
        progress: called after each batch with pictures done, and in all.
        device: where it is computed.
        failure: called with each picture that cannot be read, and why; it is left out.
        readers: processes that read pictures; 0 reads in this one.

    Raises:
        ValueError: when no picture can be read.
    """
    total, count = torch.zeros(3, size, size // 2 + 1), 0
    for numbers, canvases in readable_batches(source, size, 64, progress, failure, readers):
        total += torch.fft.rfft2(from_canvas(canvases.to(device)), norm="ortho").abs().sum(0).cpu()
        count += len(numbers)
    return total / count


def save_spectrum(magnitude: Tensor, file: Path, source: ImageSource, unreadable: int = 0) -> None:
    """Write a spectrum as safetensors, with what it was measured on: all pictures of a source but the unreadable."""
    with atomic_path(file) as temporary:
        metadata = {"images": source.name, "count": str(len(source) - unreadable), "fingerprint": source.fingerprint()}
        save_tensors({"magnitude": magnitude.half()}, temporary, metadata)


def load_spectrum(file: Path) -> Tensor:
    """Read what `save_spectrum` wrote: (3, s, s // 2 + 1).

    Raises:
        ValueError: for a file that is broken or of another form, a pipe or a device.
    """
    try:
        tensor = load_file(file).get("magnitude", torch.zeros(()))
        magnitude = tensor.float() if tensor.is_floating_point() else torch.zeros(())
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is not a spectrum: {error}; make one with usae-train spectrum") from error
    if not magnitude.any():  # pictures of it are of one colour, and no phase changes them
        raise UsageError(
            f"{file} is not a spectrum: no `magnitude` in it that is not 0; make one with usae-train spectrum"
        )
    if magnitude.ndim != 3 or magnitude.shape[0] != 3 or magnitude.shape[2] != magnitude.shape[1] // 2 + 1:
        raise UsageError(f"{file} has a spectrum of shape {tuple(magnitude.shape)}; expected (3, s, s // 2 + 1)")
    if magnitude.shape[1] < MIN_SIZE or not (magnitude.isfinite() & (magnitude >= 0)).all():
        raise UsageError(
            f"{file} is not a spectrum: expected at least {MIN_SIZE} rows of finite numbers from 0; make one with "
            "usae-train spectrum"
        )
    return magnitude
