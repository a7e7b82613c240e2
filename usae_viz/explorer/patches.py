"""Top-activating patches for the explorer: where each concept is strongest, and how strongly, patch by patch."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from usae_train.images.arrays import to_uint8
from usae_train.images.sources import DemoImages, ImageSource
from usae_train.model.natural import NaturalPictures
from usae_train.model.top_maps import MIN_PEAK
from usae_train.model.usae import USAE
from usae_train.runtime.capacity import BLOCK_NUMBERS, workers_for
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.workers import Job, JobReport, Workers
from usae_viz.export.png import to_picture
from usae_viz.export.top_patches import cut_patch
from usae_viz.pages.page_files import TILE, WEBP

WHOLE_SIDE = 192  # pixels of a whole picture, at most
PATCH_BATCH = 16


@dataclass(frozen=True)
class PatchPlace:
    """A natural picture in which a concept is among the strongest, for one backbone."""

    concept: int
    row: int  # of the backbone
    rank: int  # 0 is the strongest
    number: int  # of the picture in its source
    token: int


# And what could not be read, with why.
ShownPatches = tuple[dict[PatchPlace, tuple[dict[str, Any], Image.Image]], list[str]]


def patch_places(natural: NaturalPictures, concepts: Sequence[int], count: int) -> list[PatchPlace]:
    """Up to `count` pictures per backbone for each concept, the strongest first."""
    return [
        PatchPlace(concept, row, rank, number, token)
        for concept in concepts
        for row in range(len(natural.images))
        for rank, (number, token) in enumerate(natural.strongest(row, concept)[:count])
    ]


def write_patches(
    usae: USAE,
    natural: NaturalPictures,
    places: Sequence[PatchPlace],
    count: int,
    folder: Path,
    progress: CountCallback,
    workers: int | None = 1,
) -> tuple[dict[int, list[list[dict[str, Any]]]], list[str]]:
    """Write natural/NUMBER.webp (whole) and patches/CONCEPT.webp (a row per backbone, `count` tiles each).

    Args:
        usae: the USAE.
        natural: the pictures.
        places: what is shown of them.
        count: tiles per row.
        folder: the folder.
        progress: called with the pictures done of all.
        workers: processes that look at the pictures, see `workers_for`; the same comes out of any number.

    Returns:
        {concept: for each backbone its pictures}, a picture being {image, token, label, codes, heat}: the largest code
        and the map of codes (rows * cols bytes, base64, 255 is the largest code ever seen) through each backbone; and
        the pictures that could not be read, each with why.
    """
    by_picture: dict[int, list[PatchPlace]] = {}
    for place in places:
        by_picture.setdefault(place.number, []).append(place)
    entries: dict[int, list[list[dict[str, Any]]]] = {place.concept: [[] for _ in usae.names] for place in places}
    for part in ("natural", "patches"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    strips, unreadable = _Strips(places, (count * TILE, len(usae.names) * TILE), folder / "patches"), list[str]()
    numbers = sorted(by_picture)
    batches = [numbers[first : first + PATCH_BATCH] for first in range(0, len(numbers), PATCH_BATCH)]
    jobs = [_job(usae, natural, {number: by_picture[number] for number in batch}, folder) for batch in batches]
    count_of_workers = workers_for(workers, len(jobs), usae.device.type, _bytes_of_a_batch(usae))
    with Workers(jobs, count_of_workers) as jobs_done:
        for job, (batch, (job_entries, broken)) in enumerate(zip(batches, jobs_done.results(), strict=True)):
            unreadable += broken
            for place in (place for number in batch for place in by_picture[number]):
                entry, patch = job_entries.get(place, (None, None))
                if entry is not None:
                    entries[place.concept][place.row].append({"rank": place.rank, **entry})
                strips.take(place, patch)
            progress(min((job + 1) * PATCH_BATCH, len(numbers)), len(numbers))
    for row in (row for rows in entries.values() for row in rows):
        row.sort(key=lambda entry: entry["rank"])
    return entries, unreadable


class _Strips:
    """patches/CONCEPT.webp, a row per backbone: each is written when the last of a concept's places was looked at.

    Args:
        places: all of them.
        size: width and height in pixels.
        folder: where they go.
    """

    def __init__(self, places: Sequence[PatchPlace], size: tuple[int, int], folder: Path) -> None:
        self.size, self.folder = size, folder
        self.left = Counter(place.concept for place in places)
        self.strips: dict[int, Image.Image] = {}

    def take(self, place: PatchPlace, patch: Image.Image | None) -> None:
        """Paste a place's patch; None where its picture could not be read."""
        if patch is not None:
            if place.concept not in self.strips:
                self.strips[place.concept] = Image.new("RGB", self.size)
            self.strips[place.concept].paste(patch, (place.rank * TILE, place.row * TILE))
        self.left[place.concept] -= 1
        if self.left[place.concept] == 0 and place.concept in self.strips:
            self.strips.pop(place.concept).save(self.folder / f"{place.concept}.webp", **WEBP)


def _job(
    usae: USAE, natural: NaturalPictures, by_picture: Mapping[int, Sequence[PatchPlace]], folder: Path
) -> Job[ShownPatches]:
    """Look at a batch of pictures: write each whole, and give what is shown of every place."""

    def job(report: JobReport) -> ShownPatches:  # noqa: ARG001
        assert usae.grid is not None
        entries: dict[PatchPlace, tuple[dict[str, Any], Image.Image]] = {}
        unreadable: list[str] = []
        canvases = _read(natural.source, list(by_picture), _side(usae, natural), unreadable)
        unknown = [number for number in canvases if not all(_is_known(natural, place) for place in by_picture[number])]
        codes = _encoded(usae, {number: canvases[number] for number in unknown})
        for number, canvas in canvases.items():
            picture = to_picture(canvas)
            whole = picture.copy()
            whole.thumbnail((WHOLE_SIDE, WHOLE_SIDE), Image.Resampling.BICUBIC)
            whole.save(folder / "natural" / f"{number}.webp", **WEBP)
            for place in by_picture[number]:
                patch = cut_patch(picture, place.token, usae.grid).resize((TILE, TILE), Image.Resampling.BICUBIC)
                peaks, maps = _peaks_and_levels(usae, natural, place, codes.get(number))
                entries[place] = _entry(natural, place, peaks, maps), patch
        return entries, unreadable

    return job


def _peaks_and_levels(
    usae: USAE, natural: NaturalPictures, place: PatchPlace, codes: Sequence[Tensor] | None
) -> tuple[list[float], Tensor]:
    """A place's largest code, and its levels (backbones, tokens), by backbone: as they are kept, or of codes."""
    if codes is None:
        assert natural.maps is not None
        assert usae.grid is not None
        return natural.maps.of(place.concept, place.number, usae.grid[0] * usae.grid[1])
    maps = torch.stack([of_backbone[:, place.concept] for of_backbone in codes])
    largest = natural.largest[:, place.concept, None].clamp_min(MIN_PEAK)
    return maps.amax(1).tolist(), to_uint8(maps / largest)


def _entry(natural: NaturalPictures, place: PatchPlace, peaks: Sequence[float], maps: Tensor) -> dict[str, Any]:
    return {
        "image": place.number,
        "token": place.token,
        "label": natural.source.label(place.number),
        "codes": [round(peak, 3) for peak in peaks],
        "heat": [base64.b64encode(heat_map.numpy().tobytes()).decode() for heat_map in maps],
    }


def _is_known(natural: NaturalPictures, place: PatchPlace) -> bool:
    return natural.maps is not None and natural.maps.has(place.concept, place.number)


def _side(usae: USAE, natural: NaturalPictures) -> int:
    """Of the pictures, in pixels: without building backbones, where it is known."""
    return (0 if natural.maps is None else natural.maps.input_size) or usae.input_size


def _read(source: ImageSource, numbers: Sequence[int], size: int, unreadable: list[str]) -> dict[int, Tensor]:
    """Those of some pictures that can be read."""
    if isinstance(source, DemoImages):
        return dict(zip(numbers, source.read_together(numbers, size), strict=True))
    readable = {}
    for number in numbers:
        try:
            readable[number] = source.read(number, size)
        except UsageError as error:
            unreadable.append(str(error))
    return readable


@torch.no_grad()
def _encoded(usae: USAE, canvases: Mapping[int, Tensor]) -> dict[int, list[Tensor]]:
    """Each picture's codes (tokens, concepts) through every backbone."""
    if not canvases:
        return {}
    batch = torch.stack(list(canvases.values())).to(usae.device)
    dense = [usae.encode(name, usae.tokens(name, batch)).dense(usae.n_concepts).cpu() for name in usae.names]
    return {number: [of_backbone[at].float() for of_backbone in dense] for at, number in enumerate(canvases)}


def _bytes_of_a_batch(usae: USAE) -> float:
    """Memory that a batch takes: pre-codes of one backbone and their order, codes of all, and the network's."""
    assert usae.grid is not None
    tokens = PATCH_BATCH * usae.grid[0] * usae.grid[1]
    widest = max(usae.widths.values())
    return 4.0 * tokens * ((len(usae.names) + 3) * usae.n_concepts + BLOCK_NUMBERS * widest)
