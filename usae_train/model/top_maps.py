"""maps.safetensors of a USAE folder: where in its top pictures each concept fires, through every backbone.

Code that has just encoded the pictures saves them, or the explorer would encode the pictures again: 56% of its time for
the demo. It is a file of its own, which earlier versions ignore, and a folder may lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.files.tensor_files import load_file, safe_open, save_tensors
from usae_train.images.arrays import to_uint8
from usae_train.model.sparse import Codes
from usae_train.runtime.errors import UsageError

MAPS = "maps.safetensors"
MIN_PEAK = 1e-6  # lower bound of a concept's largest code: levels are shares of it
SIZE_DIGITS = 5  # of a picture's side in pixels, at most
PRUNE_THRESHOLD = 1 << 18  # codes that are kept before those of former top pictures are first dropped


@dataclass(frozen=True)
class TopMaps:
    """Maps of pairs of a concept and a picture in which it is among the strongest of some backbone.

    Only codes above 0 are kept. Those of one pair and backbone follow each other: `ends[pair, backbone]` says where
    they end, and the next ones begin.
    """

    concepts: Tensor  # (pairs,)
    images: Tensor  # (pairs,) numbers in the source
    peaks: Tensor  # (pairs, backbones) the picture's largest code of the concept
    ends: Tensor  # (pairs, backbones)
    tokens: Tensor  # (codes,) which token of the picture
    levels: Tensor  # (codes,) uint8; 255 is the largest code of the concept in that backbone
    input_size: int  # px, at which the pictures were read; 0 where that is not known
    _places: dict[tuple[int, int], int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs = zip(self.concepts.tolist(), self.images.tolist(), strict=True)
        self._places.update({pair: place for place, pair in enumerate(pairs)})

    def has(self, concept: int, image: int) -> bool:
        """Whether there is a map of a concept in a picture."""
        return (concept, image) in self._places

    def of(self, concept: int, image: int, n_tokens: int) -> tuple[list[float], Tensor]:
        """Of a concept in a picture, by backbone: the largest code, and levels (backbones, tokens), uint8."""
        place, backbones = self._places[concept, image], self.ends.shape[1]
        levels = torch.zeros(backbones, n_tokens, dtype=torch.uint8)
        first = int(self.ends.flatten()[place * backbones - 1]) if place else 0
        for row, end in enumerate(self.ends[place].tolist()):
            levels[row, self.tokens[first:end].long()] = self.levels[first:end]
            first = end
        return self.peaks[place].tolist(), levels

    def save(self, file: Path, usae_sha256: str, fingerprint: str) -> None:
        """Write a .safetensors file, whole or not at all, with hashes of the weights and pictures."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        metadata = {"usae_sha256": usae_sha256, "fingerprint": fingerprint, "input_size": str(self.input_size)}
        with atomic_path(file) as temporary:
            save_tensors(tensors, temporary, metadata)


TENSORS = tuple(each.name for each in fields(TopMaps) if each.name not in ("input_size", "_places"))


def read_maps(
    file: Path, usae_sha256: str | None, fingerprint: str | None, backbones: int, n_concepts: int, n_tokens: int
) -> TopMaps | None:
    """What `save` wrote; None where it is for other weights or pictures, measured since by other versions.

    Raises:
        ValueError: for a file that is broken.
    """
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        _check_shapes(shapes, backbones)
        tensors = load_file(file)
        if why := _impossible(tensors, n_concepts, n_tokens):
            raise UsageError(why)
        size = metadata.get("input_size", "")
        if not size.isdecimal() or len(size) > SIZE_DIGITS:
            raise UsageError(f"input_size is {size[:20]!r}, not a size in pixels")
    except (SafetensorError, OSError, UsageError) as error:
        raise UsageError(f"{file} is broken or incomplete ({error}); remove it: it is not needed") from error
    if metadata.get("usae_sha256") != usae_sha256 or metadata.get("fingerprint") != fingerprint:
        return None
    return TopMaps(**tensors, input_size=int(size))


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], backbones: int) -> None:
    pairs, codes = shapes.get("concepts", ())[:1], shapes.get("tokens", ())[:1]
    of_each = (*pairs, backbones)
    expected = {"concepts": pairs, "images": pairs, "peaks": of_each, "ends": of_each, "tokens": codes, "levels": codes}
    if not pairs or not codes or shapes != expected:
        raise UsageError(f"it has {dict(shapes)}")


def _impossible(tensors: Mapping[str, Tensor], n_concepts: int, n_tokens: int) -> str:
    """What is impossible in the tensors, in words; empty where nothing is."""
    peaks, ends = tensors["peaks"], tensors["ends"]
    integers = {name: values for name, values in tensors.items() if name != "peaks"}
    if wrong := [name for name, values in integers.items() if values.is_floating_point() or values.is_complex()]:
        return f"{wrong[0]} is {tensors[wrong[0]].dtype}"
    if tensors["levels"].dtype != torch.uint8 or not peaks.is_floating_point():
        return f"levels and peaks are {tensors['levels'].dtype} and {peaks.dtype}"
    if not bool((peaks.isfinite() & (peaks >= 0)).all()):
        return "peaks has numbers below 0, NaN or infinite"
    bounds = {"concepts": n_concepts, "images": 2**62, "tokens": n_tokens, "ends": len(tensors["tokens"]) + 1}
    for name, bound in bounds.items():
        values = tensors[name].long()
        if bool(((values < 0) | (values >= bound)).any()):
            return f"{name} has numbers outside 0 to {bound - 1}"
    edges = torch.cat([torch.zeros(1).long(), ends.flatten().long(), torch.tensor([len(tensors["tokens"])])])
    return "" if bool((edges.diff() >= 0).all()) and edges[-2] == edges[-1] else "ends are not in order"


class TopCodes:
    """Collects codes from a stream of pictures: those of concepts that have the picture among their top ones so far.

    Memory does not grow with the pictures.

    Args:
        names: the backbones, in the USAE's order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self._pruned_at = list(names), PRUNE_THRESHOLD
        self._entries: list[_Entries] = []
        self._numbers: list[Tensor] = []

    def add(self, numbers: Tensor, codes: Mapping[str, Codes], top_images: Tensor) -> None:
        """Add some pictures.

        Args:
            numbers: (pictures,) their numbers in the source.
            codes: {backbone: codes (pictures, tokens, k)}.
            top_images: (backbones, concepts, top) numbers of the top pictures, these among them.
        """
        self._numbers.append(numbers.long().cpu())
        for row, name in enumerate(self.names):
            values, concepts = codes[name].values.float().cpu(), codes[name].indices.cpu()
            picture, token, slot = (values > 0).nonzero(as_tuple=True)
            of_these = _Entries(
                numbers[picture],
                concepts[picture, token, slot],
                torch.full_like(token, row, dtype=torch.uint8),
                token.int(),
                values[picture, token, slot],
            )
            self._entries.append(of_these.among(top_images))
        if sum(len(each.images) for each in self._entries) > self._pruned_at:
            self._pruned_at = max(PRUNE_THRESHOLD, 2 * len(self._pruned(top_images).images))

    def maps(self, top_images: Tensor, largest: Tensor, input_size: int) -> TopMaps:
        """Maps of the final top pictures.

        Args:
            top_images: (backbones, concepts, top) numbers of the pictures.
            largest: (backbones, concepts) the largest code.
            input_size: px at which the pictures were read; 0 where that is not known.
        """
        numbers = torch.cat([torch.zeros(0, dtype=torch.long), *self._numbers]).unique()
        is_present = torch.isin(top_images.cpu(), numbers)
        concepts = torch.arange(top_images.shape[1])[:, None].expand_as(is_present)[is_present]
        by_number = torch.searchsorted(numbers, top_images.cpu()[is_present].long())
        pairs = (concepts * len(numbers) + by_number).unique()
        return self._pruned(top_images).maps(pairs, numbers, largest.float().cpu(), input_size)

    def _pruned(self, top_images: Tensor) -> _Entries:
        nothing = torch.zeros(0, dtype=torch.long)
        none = _Entries(nothing, nothing, nothing.byte(), nothing.int(), nothing.float())
        columns = zip(*(each.columns for each in (none, *self._entries)), strict=True)
        joined = _Entries(*map(torch.cat, columns))
        self._entries = [joined.among(top_images)]
        return self._entries[0]


@dataclass(frozen=True)
class _Entries:
    """Codes above 0, all (codes,)."""

    images: Tensor
    concepts: Tensor
    rows: Tensor  # of the backbones
    tokens: Tensor
    values: Tensor

    @property
    def columns(self) -> tuple[Tensor, ...]:
        return self.images, self.concepts, self.rows, self.tokens, self.values

    def among(self, top_images: Tensor) -> _Entries:
        """Those of concepts that have their picture among the top ones of some backbone."""
        mask = torch.zeros(len(self.images), dtype=torch.bool)
        for of_backbone in top_images.cpu():
            mask |= (of_backbone[self.concepts] == self.images[:, None]).any(1)
        return _Entries(*(column[mask] for column in self.columns))

    def maps(self, pairs: Tensor, numbers: Tensor, largest: Tensor, input_size: int) -> TopMaps:
        """Maps in order, with levels as shares of each concept's largest code, (backbones, concepts).

        Args:
            pairs: concept * len(numbers) + place of the picture in `numbers`, all pairs that are wanted, in order.
            numbers: of the pictures, in order.
            largest: (backbones, concepts).
            input_size: of the pictures.
        """
        backbones = len(largest)
        pair_of_each = self.concepts * len(numbers) + torch.searchsorted(numbers, self.images)
        run = torch.searchsorted(pairs, pair_of_each) * backbones + self.rows
        order = run.argsort(stable=True)
        peaks = torch.zeros(len(pairs) * backbones).scatter_reduce_(0, run, self.values, "amax")
        share = self.values / largest[self.rows.long(), self.concepts].clamp_min(MIN_PEAK)
        return TopMaps(
            concepts=_small(pairs // max(len(numbers), 1)),
            images=_small(numbers[pairs % max(len(numbers), 1)]),
            peaks=peaks.view(-1, backbones),
            ends=torch.bincount(run, minlength=peaks.numel()).cumsum(0).int().view(-1, backbones),
            tokens=_small(self.tokens[order]),
            levels=to_uint8(share)[order],
            input_size=input_size,
        )


def _small(numbers: Tensor) -> Tensor:
    """Whole numbers from 0 in no more bytes than they need."""
    most = int(numbers.max()) if len(numbers) else 0
    kinds = (torch.uint8, torch.int16, torch.int32)
    return numbers.to(next((kind for kind in kinds if most <= torch.iinfo(kind).max), torch.int64))
