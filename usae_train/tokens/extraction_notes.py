"""What of an extraction is known to be on the disk: where it begins, and what it notes with each shard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from usae_train.files.atomic import remove_leftovers, write_atomically
from usae_train.files.placing import place_of
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import ImageSource, open_images
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.signals import Stopped
from usae_train.tokens.places import check_store_place, is_store
from usae_train.tokens.store import (
    FAILURES,
    Shard,
    StoreRecord,
    check_content,
    check_shards,
    disk_bytes_per_image,
    read_failures,
    read_record,
    write_record,
)

Warn = Callable[[str], None]
Written = tuple[Shard, list[dict[str, object]]]  # a shard, and those of its images that cannot be read


def begin_or_resume(record: StoreRecord, out: Path, warn: Warn = lambda why: None) -> StoreRecord:
    """The record to resume with: a new one, or that of the same extraction, as far as its shards are whole."""
    check_store_place(out)
    if is_store(out):
        kept_record = read_record(out)
        if differences := kept_record.differences(record):
            raise UsageError(
                f"{out} was begun with another {', '.join(differences)}; give the same settings, or choose "
                "another --out"
            )
        remove_leftovers(out.glob(".*.part"))  # of kills while a shard was written: each as large as one
        return _as_far_as_whole(kept_record, out, warn)
    needed = record.n_images * disk_bytes_per_image(record)
    place = next(parent for parent in (place_of(out), *place_of(out).parents) if parent.exists())
    if (free := shutil.disk_usage(place).free) < needed:
        raise UsageError(f"{out} will take {needed / 1e9:.3g} GB, and the disk has {free / 1e9:.3g} GB free")
    place_of(out).mkdir(parents=True, exist_ok=True)
    write_record(out, record)
    return record


def _as_far_as_whole(record: StoreRecord, out: Path, warn: Warn) -> StoreRecord:
    """Without the first shard that is not whole, as after a power cut, and those after it: they are written again.

    The last one's content is read and compared too, for that was written last.
    """
    for number, shard in enumerate(record.shards):
        try:
            check_shards(out, record, [shard])
            if shard is record.shards[-1]:
                check_content(out, shard)
        except UsageError as error:
            warn(f"{error}; the pictures from number {shard.first} on are read again")
            return record.model_copy(update={"shards": record.shards[:number]})
    return record


def source_for(images: str, limit: int | None, out: Path) -> ImageSource:
    """The pictures to extract to `out`; a store that a version before 0.4 began keeps the first ones.

    Raises:
        ValueError: for a source that cannot be opened, or a store whose record is broken.
    """
    source = SourceRecord(images, limit, read_record(out).fingerprint).reopened() if is_store(out) else None
    return open_images(images, limit) if source is None else source


def images_tried(record: StoreRecord) -> int:
    """How many images have been tried for the shards that are done."""
    return record.shards[-1].last + 1 if record.shards else 0


def failures_before(out: Path, record: StoreRecord) -> list[dict[str, object]]:
    """Those of the shards that are done: a shard that was stopped is tried again."""
    return [failure for failure in read_failures(out) if failure["image"] < images_tried(record)]


class Notes:
    """What is known to be on the disk: the record and the failures, of a round of shards that each rank has one of.

    Attributes:
        record: of the shards that are written.
        writing: this rank's shard of a round that is being written, None where it has none in it; or no round.
    """

    def __init__(
        self,
        source: ImageSource,
        record: StoreRecord,
        failures: list[dict[str, object]],
        out: Path,
        max_broken: float,
        ranks: DistributedContext,
    ) -> None:
        self.source, self.record, self.failures, self.out = source, record, failures, out
        self.max_broken, self.ranks = max_broken, ranks
        self.writing: list[Future[Written] | None] = []

    def take_if_written(self) -> None:
        """Note the shard that has been written meanwhile, so that a kill loses less; with other ranks not yet."""
        if self.ranks.world_size == 1 and all(each is not None and each.done() for each in self.writing):
            self.take()

    @contextmanager
    def taken_at_a_stop(self) -> Iterator[None]:
        """What is being written when a stop comes is waited for and noted, or its images would be seen again."""
        try:
            yield
        except Stopped:
            self.take()
            raise

    def take(self) -> None:
        """Wait for the round that is being written, and note it.

        Raises:
            ValueError: when it could not be written, or too many images are broken.
        """
        for writing in self.writing:
            with self.ranks.raise_together():
                written = None if writing is None else writing.result()
            gathered = [each for each in self.ranks.gather(written) if each is not None]
            new = [shard for shard, _ in gathered]
            self.record = self.record.model_copy(update={"shards": (*self.record.shards, *new)})
            self.failures.extend(failure for _, broken in gathered for failure in broken)
            with self.ranks.raise_together():
                if self.ranks.is_main:
                    self._note(new)
        self.writing = []

    def _note(self, new: list[Shard]) -> None:
        if self.failures:
            write_atomically(self.out / FAILURES, "".join(json.dumps(failure) + "\n" for failure in self.failures))
        if len(self.failures) > self.max_broken * len(self.source):
            raise UsageError(
                f"{len(self.failures)} of {images_tried(self.record)} pictures cannot be read, more than "
                f"{self.max_broken:.1%} of all; the first: {self.failures[0]['why']}; see {self.out / FAILURES}, "
                "or allow more with --max-broken"
            )
        for shard in new:
            if not (self.out / shard.file).is_file():
                raise UsageError(
                    f"{self.out / shard.file} is not here: another machine wrote it on a disk of its own; "
                    "give an --out that all machines see"
                )
        write_record(self.out, self.record)
