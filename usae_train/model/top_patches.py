"""The patches of pictures in which one concept is strongest."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from usae_train.files.whole_numbers import as_index, at_least
from usae_train.images.sources import ImageSource, as_source
from usae_train.model.natural import encode_pictures
from usae_train.model.outline import check_concept
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import UnreadPicturesWarning

COUNT = 8


@dataclass(frozen=True)
class TopPatch:
    """One patch of one picture, through one backbone."""

    code: float
    number: int  # of the picture in its source
    label: str  # what the source calls it
    row: int  # of the common grid
    col: int
    patch: Tensor = field(repr=False)  # (3, height, width), 0..1: the patch alone


@with_torch_defaults
@torch.no_grad()
def top_patches(
    usae: USAE, concept: int, images: str | Path | ImageSource, count: int = COUNT, *, quiet: bool = False
) -> dict[str, list[TopPatch]]:
    """Where one concept is strongest in pictures, at most one patch per picture, the strongest first.

    Args:
        usae: a USAE with backbones.
        concept: which one.
        images: a folder or anything else that `open_images` takes, or an opened source.
        count: patches for each backbone, at most; pictures in which it does not fire are left out.
        quiet: show no bar.

    Returns:
        {backbone: patches}. A warning (`UnreadPicturesWarning`) names pictures that cannot be read or are left out.

    Raises:
        ValueError: for an unknown concept, a count below 1, pictures of which none can be read, or a USAE
            without backbones.

    Example:
        >>> import usae_train as ut
        >>> found = ut.top_patches(ut.load("demo"), 12, ut.open_images("demo", limit=8), count=2)
        >>> found["dino"][0].code >= found["dino"][1].code
        True
    """
    check_usae(usae)
    concept = as_index(concept, "concept", f", 0 to {usae.n_concepts - 1}")
    check_concept(usae, concept)
    at_least(1, count, "count")
    source = as_source(images)
    if source.left_out:
        warnings.warn(source.left_out, UnreadPicturesWarning, stacklevel=2)
    failures: list[str] = []
    strongest: dict[str, list[tuple[float, int, int]]] = {name: [] for name in usae.names}  # code, number, token
    with progress_display(quiet) as progress:
        encoded_batches = encode_pictures(usae, source, stage_counter(progress.report, "pictures"), failures.append)
        for numbers, codes in encoded_batches:
            for name, backbone_codes in codes.items():
                values, places = backbone_codes.of(concept).max(1)
                fired = zip(values.tolist(), numbers.tolist(), places.tolist(), strict=True)
                candidates = [*strongest[name], *(each for each in fired if each[0] > 0)]
                strongest[name] = sorted(candidates, key=lambda each: (-each[0], each[1]))[:count]
    if failures:
        why = f"{len(failures)} of {plural(len(source), 'picture')} cannot be read; the first: {failures[0]}"
        warnings.warn(why, UnreadPicturesWarning, stacklevel=2)
    grid, size = usae.grid, usae.input_size
    assert grid is not None
    return {name: [_patch(source, each, grid, size) for each in places] for name, places in strongest.items()}


def _patch(source: ImageSource, strongest: tuple[float, int, int], grid: tuple[int, int], size: int) -> TopPatch:
    code, number, token = strongest
    row, col = divmod(token, grid[1])
    down, across = (slice(size * at // n, size * (at + 1) // n) for at, n in ((row, grid[0]), (col, grid[1])))
    return TopPatch(code, number, source.label(number), row, col, source.read(number, size)[:, down, across])
