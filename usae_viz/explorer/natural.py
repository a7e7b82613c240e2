"""Natural pictures for the explorer: where each concept is strongest, and how strongly, patch by patch."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from usae_train.model.natural import NaturalPictures
from usae_train.model.usae import USAE
from usae_train.pictures.colour import levels
from usae_train.pictures.images import ImageSource
from usae_viz.runs.patches import around
from usae_viz.runs.png import to_picture

TILE = 64  # pixels of a patch with its surroundings
WHOLE = 192  # pixels of a whole picture, at most
BATCH = 16
WEBP: dict[str, Any] = {"format": "WEBP", "quality": 82, "method": 4}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Place:
    """A natural picture in which a concept is among the strongest, for one backbone."""

    concept: int
    row: int  # of the backbone
    rank: int  # 0 is the strongest
    number: int  # of the picture in its source
    token: int


def places(natural: NaturalPictures, concepts: Sequence[int], count: int) -> list[Place]:
    """Up to `count` pictures a backbone for each concept, the strongest first."""
    return [
        Place(concept, row, rank, number, token)
        for concept in concepts for row in range(len(natural.images))
        for rank, (number, token) in enumerate(natural.strongest(row, concept)[:count])
    ]  # fmt: skip


def write_natural(
    usae: USAE, natural: NaturalPictures, wanted: Sequence[Place], count: int, room: Path, progress: Progress
) -> tuple[dict[int, list[list[dict[str, Any]]]], list[str]]:
    """Write natural/NUMBER.webp (whole) and patches/CONCEPT.webp (a row a backbone, `count` tiles each).

    Returns:
        {concept: for each backbone its pictures}, a picture being {image, token, label, codes, heat}: the largest code
        and the map of codes (rows * cols bytes, base64, 255 is the largest code ever seen) through each backbone; and
        the pictures that could not be read, each with why.
    """
    found: dict[int, list[list[dict[str, Any]]]] = {}
    strips: dict[int, Image.Image] = {}
    left: dict[int, int] = {}  # places of a concept that are still to come; then its strip is written
    unreadable: list[str] = []
    of_picture: dict[int, list[Place]] = {}
    for place in wanted:
        of_picture.setdefault(place.number, []).append(place)
        left[place.concept] = left.get(place.concept, 0) + 1
        found.setdefault(place.concept, [[] for _ in usae.names])
    (room / "natural").mkdir(parents=True, exist_ok=True)
    (room / "patches").mkdir(exist_ok=True)
    assert usae.grid is not None
    for number, canvas, codes in _seen(usae, natural.source, sorted(of_picture), unreadable, progress):
        if canvas is not None:
            whole = to_picture(canvas)
            whole.thumbnail((WHOLE, WHOLE), Image.Resampling.BICUBIC)
            whole.save(room / "natural" / f"{number}.webp", **WEBP)
        for place in of_picture[number]:
            if canvas is not None:
                entry = _entry(natural, place, codes)
                found[place.concept][place.row].append({"rank": place.rank, **entry})
                strip = strips.setdefault(place.concept, Image.new("RGB", (count * TILE, len(usae.names) * TILE)))
                patch = around(canvas, place.token, usae.grid).resize((TILE, TILE), Image.Resampling.BICUBIC)
                strip.paste(patch, (place.rank * TILE, place.row * TILE))
            left[place.concept] -= 1
            if left[place.concept] == 0 and place.concept in strips:
                strips.pop(place.concept).save(room / "patches" / f"{place.concept}.webp", **WEBP)
    for rows in found.values():
        for row in rows:
            row.sort(key=lambda entry: entry["rank"])
    return found, unreadable


def _entry(natural: NaturalPictures, place: Place, codes: Sequence[Tensor]) -> dict[str, Any]:
    peaks = natural.largest[:, place.concept].clamp_min(1e-6)
    maps = [own[:, place.concept] for own in codes]
    heat = [
        base64.b64encode(levels(one / peak).numpy().tobytes()).decode() for one, peak in zip(maps, peaks, strict=True)
    ]
    return {
        "image": place.number, "token": place.token, "label": natural.source.label(place.number),
        "codes": [round(one.max().item(), 3) for one in maps], "heat": heat,
    }  # fmt: skip


@torch.no_grad()
def _seen(
    usae: USAE, source: ImageSource, numbers: Sequence[int], unreadable: list[str], progress: Progress
) -> Iterator[tuple[int, Tensor | None, list[Tensor]]]:
    """Each picture with its codes (tokens, concepts) through every backbone; None for one that cannot be read."""
    size = max(backbone.input_size for backbone in usae.backbones.values())
    device = usae.dictionary(usae.names[0]).device
    for first in range(0, len(numbers), BATCH):
        batch: dict[int, Tensor] = {}
        for number in numbers[first : first + BATCH]:
            try:
                batch[number] = source.read(number, size)
            except ValueError as error:
                unreadable.append(str(error))
                yield number, None, []
        if batch:
            shown = torch.stack(list(batch.values())).to(device)
            dense = [usae.encode(name, usae.tokens(name, shown)).dense(usae.n_concepts).cpu() for name in usae.names]
            for at, (number, canvas) in enumerate(batch.items()):
                yield number, canvas, [own[at].float() for own in dense]
        progress(min(first + BATCH, len(numbers)), len(numbers))
