"""An activation store: paired tokens on disk, in shards that appear whole or not at all.

store.json                 schema, backbone specs, image source and its fingerprint, dtype, grid, shards and sha256
shard-00000.safetensors    {backbone: (image, token, width)}, and `images`: their numbers in the source
failures.jsonl             images that could not be read, each with why
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from torch import Tensor

from usae_train.backbones.identity import WeightsRecord
from usae_train.backbones.spec import BackboneSpec, Side
from usae_train.files.atomic import atomic_path, write_atomically
from usae_train.files.json_files import as_object, parse_json, read_object, validate
from usae_train.files.place_names import path_of_name
from usae_train.files.provenance import file_hash
from usae_train.files.tensor_files import safe_open, save_tensors
from usae_train.files.validation import FrozenModel
from usae_train.images.fingerprints import same_setting
from usae_train.images.source_record import SourceRecord
from usae_train.runtime.errors import UsageError
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.places import RECORD
from usae_train.tokens.settings import StorageDtype

STORE_SCHEMA = 1
READ_BYTES = 16e6  # of a shard that is in memory beside what it is read into
FAILURES = "failures.jsonl"
SAFETENSORS_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}  # as safetensors calls them
IMAGES = "images"  # the shards' tensor of numbers; no backbone can have this name


class Shard(FrozenModel):
    """One file of the store."""

    file: str = Field(pattern=r"^shard-\d{5,}\.safetensors$", description="its name in the store's folder")
    images: int = Field(ge=0, lt=2**32, description="how many images are in it")
    first: int = Field(ge=0, description="number of the first image that was tried for it")
    last: int = Field(ge=0, description="number of the last image that was tried for it")
    sha256: str

    @model_validator(mode="after")
    def _of_those_that_were_tried(self) -> Shard:
        if self.last < self.first - 1 or self.images > self.last + 1 - self.first:
            raise UsageError(f"{self.images} pictures of those from {self.first} to {self.last}")
        return self


class Unreadable(BaseModel):
    """A line of failures.jsonl."""

    model_config = ConfigDict(extra="ignore")

    image: int = Field(ge=0, description="number of one that could not be read")
    why: str


class ShardSlice(NamedTuple):
    """Some images of a shard."""

    shard: int
    images: range  # their places in it


class StoreRecord(FrozenModel):
    """What store.json holds."""

    model_config = ConfigDict(protected_namespaces=())

    schema_: int = Field(STORE_SCHEMA, alias="schema")
    backbones: dict[str, BackboneSpec]
    widths: dict[str, Annotated[int, Field(ge=1, lt=2**24)]] = Field(min_length=1)
    grid: tuple[Side, Side]
    dtype: StorageDtype
    source: str
    fingerprint: str
    n_images: int = Field(ge=1, description="images of the source that were asked for, readable or not")
    drawn_from: int | None = Field(
        None,
        description="how many the source has, from which they were drawn; older stores have none: they took the first",
    )
    weights: dict[str, WeightsRecord] = Field(default_factory=dict, description="older stores have none")
    complete: bool = False
    shards: tuple[Shard, ...] = ()

    @property
    def images(self) -> SourceRecord:
        """Those that were asked for."""
        return SourceRecord(self.source, self.n_images, self.fingerprint)

    @model_validator(mode="after")
    def _of_one_extraction(self) -> StoreRecord:
        if self.backbones.keys() != self.widths.keys():
            raise UsageError(f"backbones {', '.join(self.backbones)}; expected those of widths")
        ends = [-1, *(shard.last for shard in self.shards)]
        for end, shard in zip(ends, self.shards, strict=False):
            if shard.first != end + 1 or shard.last >= self.n_images:
                raise UsageError(f"{shard.file} has pictures {shard.first} to {shard.last}, after {end}")
        return self

    def differences(self, other: StoreRecord) -> list[str]:
        """The names of settings in which another extraction differs."""
        compared = set(StoreRecord.model_fields) - {"complete", "shards", "schema_", "weights", "drawn_from"}
        differing = [name for name in compared if not same_setting(name, getattr(self, name), getattr(other, name))]
        hashes = [
            {name: weights_record.sha256 for name, weights_record in record.weights.items()} for record in (self, other)
        ]
        if "backbones" not in differing and self.weights and hashes[0] != hashes[1]:
            differing.append("weights")
        return sorted(differing)


class ActivationStore:
    """A store to read from.

    Args:
        folder: what `usae-train extract` wrote.

    Raises:
        ValueError: for a folder that is not a store, of another schema, or unfinished, or a shard that is missing or
            not whole.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = path_of_name(folder)
        self.record = read_record(self.folder)
        if not self.record.complete:
            done = sum(shard.images for shard in self.record.shards)
            raise UsageError(
                f"{folder} is unfinished ({done} of {self.record.n_images} pictures); "
                "run the same usae-train extract command again"
            )
        if not len(self):
            raise UsageError(f"{folder} has no pictures in its shards; extract again into another folder")
        check_shards(self.folder, self.record)  # before hours of work, not after

    @property
    def specs(self) -> dict[str, BackboneSpec]:
        """{backbone: spec}; local weight files are where they were when the store was made."""
        return dict(self.record.backbones)

    def __len__(self) -> int:
        """How many images there are."""
        return sum(shard.images for shard in self.record.shards)

    @property
    def bytes(self) -> int:
        """Size of all tokens in memory."""
        return len(self) * disk_bytes_per_image(self.record)

    def changed_pictures(self) -> bool:
        """Whether the folder that the pictures came from is at hand and has others now (its fingerprint differs)."""
        folder = path_of_name(self.record.source)
        if not folder.is_dir():
            return False
        try:
            return self.record.images.reopened() is None
        except UsageError:  # it has none at all
            return True

    def read(self, shards: Sequence[int]) -> PairedTokens:
        """Some shards' tokens, in the order asked for.

        Raises:
            ValueError: for a shard that is missing or broken.
        """
        return self.read_slices([ShardSlice(number, range(self.record.shards[number].images)) for number in shards])

    def read_slices(self, slices: Sequence[ShardSlice]) -> PairedTokens:
        """Tokens of parts of shards, as `read` gives them."""
        total, per_image = sum(len(each.images) for each in slices), self.record.grid[0] * self.record.grid[1]
        dtype = getattr(torch, self.record.dtype)
        tokens = {name: torch.empty(total, per_image, width, dtype=dtype) for name, width in self.record.widths.items()}
        numbers, done = torch.empty(total, dtype=torch.long), 0
        images_per_read = max(1, int(READ_BYTES / (self.bytes / len(self))))
        for shard, images in slices:
            for first in range(0, len(images), images_per_read):  # opened anew each time: what was read is unmapped
                span = images[first : first + images_per_read]
                with opened_shard(self.folder, self.record, self.record.shards[shard]) as opened:
                    for name, into in tokens.items():
                        into[done : done + len(span)] = opened.get_slice(name)[span.start : span.stop]
                    numbers[done : done + len(span)] = opened.get_slice(IMAGES)[span.start : span.stop]
                _check_image_numbers(self.folder, self.record.shards[shard], numbers[done : done + len(span)])
                done += len(span)
        return PairedTokens(tokens, numbers, self.failures())

    def images(self, shard: int, places: Sequence[int]) -> PairedTokens:
        """Some images of one shard by their place in it; no others are read.

        Raises:
            ValueError: for a shard that is missing or broken.
        """
        with opened_shard(self.folder, self.record, self.record.shards[shard]) as opened:
            slices = {name: opened.get_slice(name) for name in (*self.record.widths, IMAGES)}
            tokens = {name: torch.cat([read[p : p + 1] for p in places]) for name, read in slices.items()}
        numbers = tokens.pop(IMAGES)
        return PairedTokens(tokens, numbers)

    def failures(self) -> list[str]:
        """Images that could not be read, each with why."""
        return [str(failure["why"]) for failure in read_failures(self.folder)]

    def compare_checksums(self, shards: Sequence[Shard] | None = None) -> Iterator[str]:
        """Go through some shards, or all, and compare their checksums; the name of each as it is found right.

        Raises:
            ValueError: for one that is missing or has another.
        """
        for shard in self.record.shards if shards is None else shards:
            check_content(self.folder, shard)
            yield shard.file


@contextmanager
def opened_shard(folder: Path, record: StoreRecord, shard: Shard) -> Iterator[Any]:
    """A shard as a memory map.

    Raises:
        ValueError: when it is missing, not whole, or another one than the record says.
    """
    file = folder / shard.file
    try:
        with safe_open(file, framework="pt") as opened:
            if set(opened.keys()) != {*record.widths, IMAGES}:
                raise UsageError(f"{file} holds {', '.join(sorted(opened.keys()))}; expected those of {RECORD}")
            tokens = record.grid[0] * record.grid[1]
            shapes = {name: [shard.images, tokens, width] for name, width in record.widths.items()}
            for name, expected in {**shapes, IMAGES: [shard.images]}.items():
                kind, part = "I64" if name == IMAGES else SAFETENSORS_DTYPES[record.dtype], opened.get_slice(name)
                if part.get_dtype() != kind:
                    raise UsageError(f"{file} holds {name} as {part.get_dtype()}; by {RECORD} it should be {kind}")
                if (shape := part.get_shape()) != expected:
                    raise UsageError(
                        f"{file} holds {name} in the shape {shape}; by {RECORD} it should be {expected}: it is of "
                        "another store, of other backbones or another grid"
                    )
            yield opened
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is missing or broken: {error}") from error


def check_shards(folder: Path, record: StoreRecord, shards: Sequence[Shard] | None = None) -> None:
    """Check that some shards, or all, are there and as long as they say; their content is not read.

    Raises:
        ValueError: for the first that is not.
    """
    for shard in record.shards if shards is None else shards:
        with opened_shard(folder, record, shard):
            pass


def _check_image_numbers(folder: Path, shard: Shard, numbers: Tensor) -> None:
    """Refuse images that the shard cannot have: of others top-activating patches would be shown."""
    if len(numbers) and not (shard.first <= int(numbers.min()) and int(numbers.max()) <= shard.last):
        raise UsageError(
            f"{folder / shard.file} holds pictures {int(numbers.min())} to {int(numbers.max())}; by {RECORD} it should "
            f"be of those from {shard.first} to {shard.last}"
        )


def check_content(folder: Path, shard: Shard) -> None:
    """Check that a shard's checksum is that of the record.

    Raises:
        ValueError: when it is not, or the shard is missing.
    """
    file = folder / shard.file
    if not file.is_file():
        raise UsageError(f"{file} is missing; extract again into another folder")
    if (sha256 := file_hash(file)) != shard.sha256:
        raise UsageError(
            f"{file} has the checksum {sha256[:12]}..., not {shard.sha256[:12]}...; it was changed or damaged"
        )


def read_record(folder: Path) -> StoreRecord:
    """Read store.json.

    Raises:
        ValueError: when it is missing, broken or of another schema.
    """
    file = folder / RECORD
    if not file.is_file():
        raise UsageError(f"{folder} is not an activation store: it has no {RECORD}")
    try:
        values = read_object(file)
        if (schema := values.get("schema")) == STORE_SCHEMA:
            return validate(StoreRecord.model_validate, values)
    except UsageError as error:
        raise UsageError(f"{file} is not a valid record of a store: {error}") from error
    raise UsageError(f"{file} has schema {schema!r}; this version reads {STORE_SCHEMA}")


def read_failures(folder: Path) -> list[dict[str, Any]]:
    """The lines of failures.jsonl: `image`, the number of one that could not be read, and `why`.

    Raises:
        ValueError: when the file is broken.
    """
    file = folder / FAILURES
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [validate(Unreadable.model_validate, as_object(parse_json(line))).model_dump() for line in lines]
    except (UsageError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{file} is damaged: {error}; put it back as it was, or extract again") from error


def write_record(folder: Path, record: StoreRecord) -> None:
    """Write store.json, whole or not at all."""
    write_atomically(folder / RECORD, record.model_dump_json(indent=1, by_alias=True) + "\n")


def disk_bytes_per_image(record: StoreRecord) -> int:
    """Size of one image's tokens on disk."""
    tokens, dtype = record.grid[0] * record.grid[1], getattr(torch, record.dtype)
    return tokens * sum(record.widths.values()) * int(dtype.itemsize)


def write_shard(folder: Path, number: int, tokens: Mapping[str, Tensor], numbers: Tensor, tried: range) -> Shard:
    """Write one shard, whole or not at all.

    Args:
        folder: the store's.
        number: of the shard.
        tokens: {backbone: (image, token, width)}.
        numbers: (image,) their numbers in the source.
        tried: numbers of the images that were tried for it.
    """
    name = f"shard-{number:05d}.safetensors"
    with atomic_path(folder / name) as temporary:
        save_tensors({**tokens, IMAGES: numbers}, temporary)
    return Shard(
        file=name, images=len(numbers), first=tried.start, last=tried.stop - 1, sha256=file_hash(folder / name)
    )
