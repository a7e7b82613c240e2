"""Pictures in the tar shards of a WebDataset, local or at URLs, read in any order."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torch import Tensor

from usae_train.files.homes import expand_home
from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.files.provenance import import_extra
from usae_train.files.regular import check_regular
from usae_train.images.decoding import read_picture
from usae_train.images.fingerprints import Content, fingerprint_of
from usae_train.images.indexing import IndexedImages
from usae_train.images.kinds import is_hidden, is_picture_name, left_out_in_words, no_pictures
from usae_train.images.samples import picture_of, split_annotation, split_member_name
from usae_train.images.shard_patterns import expand_shards
from usae_train.runtime.errors import UsageError

REMOTE = re.compile(r"https?://")
_WITH_FIELD = re.compile(r"(.*\.tar):([\w.;]+)", re.DOTALL)
# PIL refuses pictures of more than 179 million pixels: no file of one is larger, at 16 bits a channel.
MAX_MEMBER_BYTES = 1 << 30
MAX_CLASS_BYTES = 1000  # bytes of a `.cls`: a number, or a name
_HEADER_BYTES = 1 << 20  # of one member's; a name of so many bytes is none


class Member(NamedTuple):
    """Where a picture lies."""

    shard: int
    name: str
    offset: int  # bytes into the shard
    size: int
    class_at: tuple[int, int] | None = None  # where the sample's `.cls` lies, and its bytes


class TarImages(IndexedImages):
    """The pictures of a WebDataset: one per sample, numbered in the order of the shards and of their members.

    The shards' headers are read when it is opened, so that any picture can be read at any time. Shards at URLs are
    fetched whole, once, into `USAE_CACHE` (`~/.cache/usae` unless set), for a tar cannot be read in any order from
    afar; they take their size on this disk.

    Args:
        pattern: `shards/{000..009}.tar`, one `.tar`, or such URLs (http, https); several with `::`. After the last one
            `:FIELD` says which member of each sample is its picture (`:left.jpg`; `:jpg;png` is the first that is
            there); see `picture_of` for what is taken otherwise.

    Raises:
        ValueError: for a shard that is missing, cut short or compressed, a URL that cannot be fetched, a sample with
            several pictures, no pictures, more than a million shards, or without the package `webdataset`.
    """

    drawn_from: int | None = None

    def __init__(self, pattern: str) -> None:
        with_field = _WITH_FIELD.fullmatch(pattern)
        places, field = (with_field[1], with_field[2]) if with_field else (pattern, None)
        parts = [part if REMOTE.match(part) else str(path_of_name(part).absolute()) for part in places.split("::")]
        self.name = name_as_utf8("::".join(parts)) + (f":{field}" if field else "")
        self.shards: list[Path] = []
        self.members: list[Member] = []
        left_out: Counter[str] = Counter()
        for shard in expand_shards("::".join(parts), import_extra("webdataset", "webdataset").shardlists):
            self.shards.append(fetch_shard(shard) if REMOTE.match(shard) else Path(shard))
            self.members += pictures_of(self.shards[-1], len(self.shards) - 1, field, left_out)
        self.left_out = left_out_in_words(left_out, pattern)
        if not self.members:
            raise UsageError(no_pictures(pattern, self.left_out))

    def chosen(self, numbers: Sequence[int]) -> TarImages:
        """Those of its pictures alone."""
        subset = copy(self)
        subset.members = [self.members[number] for number in numbers]
        return subset

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int, size: int) -> Tensor:
        member = self.members[index]
        try:
            with self.shards[member.shard].open("rb") as shard:
                left = os.fstat(shard.fileno()).st_size - member.offset
                if member.size > min(left, MAX_MEMBER_BYTES):  # a header claims what it likes
                    raise OSError(f"it claims {member.size:,} bytes; expected {min(left, MAX_MEMBER_BYTES):,} at most")
                shard.seek(member.offset)
                content = shard.read(member.size)
        except OSError as error:
            raise UsageError(f"{self.label(index)} cannot be read: {error}") from error
        return read_picture(io.BytesIO(content), size, self.label(index))

    def classes(self) -> list[str | None]:
        """What each picture's `.cls` says, a number or a name; None where there is none, or it says nothing or -1.

        Raises:
            ValueError: for one that is longer than a name, or is not text.
        """
        classes: list[str | None] = []
        for number, members in groupby(self.members, key=lambda member: member.shard):  # a shard is opened once
            try:
                opened = self.shards[number].open("rb")
            except OSError as error:
                raise UsageError(f"{name_as_utf8(self.shards[number].name)} cannot be read: {error}") from error
            with opened as shard:
                classes += [self._class(member, shard) for member in members]
        return classes

    def _class(self, member: Member, shard: BinaryIO) -> str | None:
        if member.class_at is None:
            return None
        offset, size = member.class_at
        try:
            if size > MAX_CLASS_BYTES:
                raise UsageError(f"it has {size:,} bytes")
            shard.seek(offset)
            name = " ".join(shard.read(size).decode().split())
        except (OSError, UnicodeDecodeError, UsageError) as error:
            where = name_as_utf8(f"{self.shards[member.shard].name}/{member.name}")
            raise UsageError(f"the .cls of {where} cannot be read: {error}; expected a number or a name") from error
        return None if name in ("", "-1") else name

    def label(self, index: int) -> str:
        member = self.members[index]
        return name_as_utf8(f"{self.shards[member.shard].name}/{member.name}")

    def fingerprint(self) -> str:
        changed = [shard.stat().st_mtime_ns for shard in self.shards]
        contents = (Content(str(self.shards[m.shard]), m.offset, m.size, changed[m.shard]) for m in self.members)
        return fingerprint_of(zip(map(self.label, range(len(self))), contents, strict=True), len(self))


def pictures_of(shard: Path, number: int, asked_field: str | None, left_out: Counter[str]) -> list[Member]:
    """The pictures of one shard, one per sample; how many of what are left out is added to what is known.

    Raises:
        ValueError: when it is missing, cut short or compressed, or a sample has several pictures.
    """
    samples: dict[str, dict[str, Member]] = {}  # {sample: {field: member}}, pictures or not
    try:
        check_regular(shard)
        with _Headers(shard) as file, tarfile.open(fileobj=file, mode="r:") as opened:
            for member in opened:
                if member.size < 0:
                    raise tarfile.ReadError(f"{name_as_utf8(member.name)} claims {member.size} bytes")
                if member.isdir():
                    continue
                if any(map(is_hidden, member.name.removeprefix("./").split("/"))):
                    left_out["hidden"] += 1
                elif not member.isfile():
                    left_out["links, pipes or devices"] += 1
                else:
                    sample, field = split_member_name(member.name)
                    members = samples.setdefault(sample, {})
                    if field in members:
                        left_out["with the name of an earlier one"] += 1
                    else:
                        members[field] = Member(number, member.name, member.offset_data, member.size)
            _check_end(opened)
    except FileNotFoundError as error:
        raise UsageError(f"no shard {str(shard)!r}; check the pattern's numbers") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(f"{shard} is not a whole, uncompressed tar file: {error}") from error
    if asked_field is None:
        samples = dict(_without_annotations(samples, left_out))
    chosen = [_picture(sample, members, asked_field, left_out) for sample, members in samples.items()]
    return sorted((member for member in chosen if member is not None), key=lambda member: member.offset)


class _Headers(io.BufferedReader):
    """A shard of which no more is read at once than a member's header has; one may claim to be a terabyte."""

    def __init__(self, shard: Path) -> None:
        super().__init__(io.FileIO(shard))

    def read(self, size: int | None = -1) -> bytes:
        return super().read(_HEADER_BYTES if size is None or size < 0 else min(size, _HEADER_BYTES))


def _without_annotations(
    samples: Mapping[str, dict[str, Member]], left_out: Counter[str]
) -> Iterator[tuple[str, dict[str, Member]]]:
    """The samples but for those that are a mask or the like of another: `5_mask.png` beside `5.jpg`."""
    pictures = {
        sample for sample, members in samples.items() if any(is_picture_name(each.name) for each in members.values())
    }
    for sample, members in samples.items():
        annotation = split_annotation(sample) if sample in pictures else None
        if annotation is not None and annotation[0] in pictures:
            left_out.update(f"{annotation[1]}.{field} beside a picture" for field in members)
        else:
            yield sample, members


def _picture(sample: str, members: dict[str, Member], asked_field: str | None, left_out: Counter[str]) -> Member | None:
    pictures = [field for field in members if is_picture_name(members[field].name)]
    chosen = picture_of(sample, pictures, asked_field)
    if chosen is None:
        left_out[f"samples without a picture ({', '.join(sorted(members)) or 'without an ending'})"] += 1
        return None
    left_out.update(f"{field} beside a picture" for field in pictures if field != chosen)
    label = members.get("cls")
    return members[chosen] if label is None else members[chosen]._replace(class_at=(label.offset, label.size))


def _check_end(shard: tarfile.TarFile) -> None:
    """A ReadError when no mark of the end follows the last member: tarfile takes a damaged header for one as well."""
    assert shard.fileobj is not None
    shard.fileobj.seek(shard.offset)
    if shard.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        where = f"after {len(shard.getmembers())} members, at byte {shard.offset}"
        raise tarfile.ReadError(f"{where}, it is cut short or damaged, or was written without an end mark")


def fetch_shard(url: str) -> Path:
    """A shard's place on this disk; fetched when it is not there yet.

    Raises:
        ValueError: when it cannot be fetched.
    """
    from torch.hub import download_url_to_file

    cache = expand_home(os.environ.get("USAE_CACHE", "~/.cache/usae"))
    place = cache / "shards" / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rpartition("/")[2]
    if not place.is_file():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(place), progress=False)  # to a temporary name, then renamed
        except (OSError, ValueError) as error:  # urllib's own errors are OSErrors
            raise UsageError(f"{url} could not be fetched: {error}; check the address and the network") from error
    return place
