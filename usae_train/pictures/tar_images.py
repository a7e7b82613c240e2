"""Pictures in the tar shards of a WebDataset, local or at URLs, read in any order."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from usae_train.files.provenance import required
from usae_train.pictures.images import SUFFIXES, printable, read_picture

REMOTE = re.compile(r"https?://")


class Member(NamedTuple):
    """Where a picture lies."""

    shard: int
    name: str
    offset: int  # bytes into the shard
    size: int


class TarImages:
    """The pictures of a WebDataset: one a sample, numbered in the order of the shards and of their members.

    The shards' headers are read when it is opened, so that any picture can be read at any time. Shards at URLs are
    fetched whole, once, into `USAE_CACHE` (`~/.cache/usae` unless set), for a tar cannot be read in any order from
    afar; they take their size on this disk.

    Args:
        pattern: `shards/{000..009}.tar`, one `.tar`, or such URLs (http, https); several with `::`.

    Raises:
        ValueError: for a shard that is missing, cut short or compressed, a URL that cannot be fetched, no pictures, or
            without the package `webdataset`.
    """

    drawn_from: int | None = None

    def __init__(self, pattern: str) -> None:
        self.name = "::".join(
            part if REMOTE.match(part) else str(Path(part).expanduser().absolute()) for part in pattern.split("::")
        )
        expanded = required("webdataset", "webdataset").shardlists.expand_urls(self.name)
        self.shards: list[Path] = []
        self.members: list[Member] = []
        for shard in expanded:
            self.shards.append(fetched(shard) if REMOTE.match(shard) else Path(shard))
            self.members += pictures_of(self.shards[-1], len(self.shards) - 1)
        if not self.members:
            raise ValueError(f"no pictures in {pattern}; expected members ending in {', '.join(sorted(SUFFIXES))}")

    def chosen(self, numbers: Sequence[int]) -> TarImages:
        """Those of its pictures alone."""
        found = copy(self)
        found.members = [self.members[number] for number in numbers]
        return found

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int, size: int) -> Tensor:
        member = self.members[index]
        try:
            with self.shards[member.shard].open("rb") as shard:
                shard.seek(member.offset)
                content = shard.read(member.size)
        except OSError as error:
            raise ValueError(f"{self.label(index)} cannot be read: {error}") from error
        return read_picture(io.BytesIO(content), size, self.label(index))

    def label(self, index: int) -> str:
        member = self.members[index]
        return printable(f"{self.shards[member.shard].name}/{member.name}")

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for index, member in enumerate(self.members):
            digest.update(f"{self.label(index)}\0{member.size}\n".encode())
        return digest.hexdigest()


def pictures_of(shard: Path, number: int) -> list[Member]:
    """The pictures of one shard: of each sample (members that share a name up to the first dot) the first.

    Raises:
        ValueError: when it is missing, cut short or compressed.
    """
    found: dict[str, Member] = {}
    try:
        with tarfile.open(shard, "r:") as opened:
            for member in opened:
                folder, _, file = member.name.rpartition("/")
                key, _, ending = file.partition(".")
                if member.isfile() and f".{ending.lower()}" in SUFFIXES:
                    sample = f"{folder}/{key}"
                    found.setdefault(sample, Member(number, member.name, member.offset_data, member.size))
            _check_end(opened)
    except FileNotFoundError as error:
        raise ValueError(f"no shard {str(shard)!r}; check the pattern's numbers") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{shard} is no whole, uncompressed tar file: {error}") from error
    return list(found.values())


def _check_end(shard: tarfile.TarFile) -> None:
    """A ReadError when no mark of the end follows the last member: tarfile takes a damaged header for one as well."""
    assert shard.fileobj is not None
    shard.fileobj.seek(shard.offset)
    if shard.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        where = f"after {len(shard.getmembers())} members, at byte {shard.offset}"
        raise tarfile.ReadError(f"{where}, it is cut short or damaged, or was written without a mark of its end")


def fetched(url: str) -> Path:
    """A shard's place on this disk; fetched when it is not there yet.

    Raises:
        ValueError: when it cannot be fetched.
    """
    from torch.hub import download_url_to_file

    cache = Path(os.environ.get("USAE_CACHE", "~/.cache/usae")).expanduser()
    place = cache / "shards" / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rpartition("/")[2]
    if not place.is_file():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(place), progress=False)  # to a temporary name, then renamed
        except (OSError, ValueError) as error:  # urllib's own errors are OSErrors
            raise ValueError(f"{url} could not be fetched: {error}; check the address and the network") from error
    return place
