"""Extraction: every image through every backbone, once, into an activation store; stopped and resumed at will."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch

from usae_train.backbones.backbone import Backbone, build_backbones, set_compute_dtype
from usae_train.backbones.common_sizes import common_grid, largest_input
from usae_train.backbones.shared_pass import tokens_together
from usae_train.backbones.spec import BackboneSpec
from usae_train.images.sources import ImageSource, count_before, read_groups
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.sampling import drawn_numbers
from usae_train.runtime.signals import Stopped, handle_signals
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.extraction_notes import Notes, Warn, Written, begin_or_resume, failures_before, images_tried
from usae_train.tokens.feeding import StoreFeed
from usae_train.tokens.pieces import PIECE_SECONDS, ExtractedTokens, Pieces
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.standardization import STANDARDIZATION_IMAGES, Outliers, sums_of
from usae_train.tokens.store import (
    STORE_SCHEMA,
    ActivationStore,
    StoreRecord,
    check_shards,
    disk_bytes_per_image,
    write_record,
    write_shard,
)

EXTRACT_DEFAULTS = ExtractSettings()
SHARD_BYTES = 512e6


class ExtractionPlan(NamedTuple):
    """What an extraction will write."""

    record: StoreRecord
    gigabytes: float
    backbones: dict[str, Backbone]  # built to learn their widths and grids


@with_torch_defaults
def plan_extraction(
    source: ImageSource, specs: Mapping[str, BackboneSpec], storage_dtype: str = EXTRACT_DEFAULTS.storage_dtype
) -> ExtractionPlan:
    """What an extraction will write.

    Raises:
        ValueError: for backbones that cannot be built.
    """
    backbones = build_backbones(specs)
    grid = common_grid(list(backbones.values()))
    record = StoreRecord(
        schema=STORE_SCHEMA,
        backbones=dict(specs),
        widths={name: b.width for name, b in backbones.items()},
        grid=grid,
        dtype=storage_dtype,
        source=source.name,
        fingerprint=source.fingerprint(),
        n_images=len(source),
        drawn_from=count_before(source),
        weights={name: backbone.record() for name, backbone in backbones.items()},
    )
    return ExtractionPlan(record, len(source) * disk_bytes_per_image(record) / 1e9, backbones)


@with_torch_defaults
@torch.no_grad()
def extract(
    source: ImageSource,
    record: StoreRecord,
    out: Path,
    settings: ExtractSettings = EXTRACT_DEFAULTS,
    *,
    device: torch.device | str = "cpu",
    images_per_shard: int | None = None,
    progress: CountCallback = lambda done, total: None,
    ranks: DistributedContext = SINGLE_PROCESS,
    backbones: Mapping[str, Backbone] | None = None,
    piece_seconds: float = PIECE_SECONDS,
    warn: Warn = lambda why: None,
) -> ActivationStore:
    """Write an activation store, or resume one where it stopped, within a shard too.

    SIGTERM and Ctrl-C keep what was seen, and stop; a kill loses what was seen in the last minute. Processes that
    extract together stop together, when one gets a signal as when torchrun sends it to all. While a shard is written
    the next one's images are read and seen, so that two are in memory at a time.

    Args:
        source: the images.
        record: what `plan_extraction` made of them and the backbones.
        out: the store's folder.
        settings: how images are read and seen: image_batch, compute_dtype (of the backbones, from now on), readers and
            max_broken.
        device: where the backbones run.
        images_per_shard: as many as make 512 MB by default.
        progress: called after each batch.
        piece_seconds: time between two pieces of a shard that are kept until it is whole.
        ranks: the processes that extract together, one shard each at a time; `out` is on a disk that all of them see.
        backbones: those that `plan_extraction` has built; built from the record unless given.
        warn: called with what is found damaged of a store that is resumed; it is written again.

    Raises:
        ValueError: for a store of other settings or a finished one, a disk without room, too many broken images, tokens
            that are not finite.
        Stopped: after SIGTERM or Ctrl-C; says how many images are kept.
    """
    record, failures = _record_to_resume(record, out, warn, ranks)
    notes = Notes(source, record, failures, out, settings.max_broken, ranks)
    built = build_backbones(record.backbones, warn=False) if backbones is None else backbones
    seeing = {name: backbone.to(device) for name, backbone in built.items()}
    set_compute_dtype(seeing.values(), settings.compute_dtype)
    images_per_shard = images_per_shard or max(settings.image_batch, int(SHARD_BYTES / disk_bytes_per_image(record)))
    rounds = rounds_of(range(images_tried(record), len(source)), images_per_shard, ranks.world_size)
    pieces = Pieces(out, piece_seconds)
    shards = _RankShards(source, record, seeing, rounds, pieces, ranks, settings)
    _write_rounds(rounds, shards, notes, progress)
    with ranks.raise_together():
        _finish(notes.record, source, out, pieces, ranks)
    return ActivationStore(out)


def _record_to_resume(
    record: StoreRecord, out: Path, warn: Warn, ranks: DistributedContext
) -> tuple[StoreRecord, list[dict[str, object]]]:
    """The record to resume with, and the images of its shards that could not be read; the same on all ranks."""
    with ranks.raise_together():
        to_resume = begin_or_resume(record, out, warn) if ranks.is_main else record
        failures = failures_before(out, to_resume) if ranks.is_main else []
    return ranks.from_main((to_resume, failures))


def _write_rounds(
    rounds: Sequence[Sequence[range]], shards: _RankShards, notes: Notes, progress: CountCallback
) -> None:
    """Fill this rank's shard of each round, and write it while the next one is filled.

    Raises:
        Stopped: after a signal, once all ranks know of it.
    """
    record, pieces, ranks = notes.record, shards.pieces, notes.ranks
    number = len(record.shards) + ranks.rank
    with ThreadPoolExecutor(1) as writer, handle_signals(pieces.stop), notes.taken_at_a_stop():
        for each in rounds:
            filled: ExtractedTokens | None = None
            with ranks.raise_together(), _until_all_know(ranks):
                filled = shards.fill(each, partial(_report, notes, progress, each))
            _stop_together(pieces, ranks, each, filled, record.n_images)
            writing = None if filled is None else writer.submit(_write, notes.out, number, filled)
            notes.take()
            if ranks.is_main:
                pieces.remove(images_tried(notes.record))
            notes.writing, number = [writing], number + ranks.world_size
        notes.take()


def _report(notes: Notes, progress: CountCallback, each: Sequence[range], images: int) -> None:
    """Note what is written meanwhile, and report how far a round is, by this rank's share of it."""
    notes.take_if_written()
    progress(min(each[0].start + images * len(each), len(notes.source)), len(notes.source))


def _finish(record: StoreRecord, source: ImageSource, out: Path, pieces: Pieces, ranks: DistributedContext) -> None:
    """Say of a store that it is complete, once its shards were looked at."""
    if not sum(shard.images for shard in record.shards):
        raise UsageError(f"none of the {plural(len(source), 'picture')} of {source.name} can be read")
    if ranks.is_main:
        pieces.remove()
        check_shards(out, record)
        write_record(out, record.model_copy(update={"complete": True}))


def outliers_of(store: ActivationStore) -> dict[str, Outliers]:
    """High-norm tokens of a store, counted in 1000 images at most, drawn from all of them."""
    feed = StoreFeed(store, 0)
    images = drawn_numbers(len(store), STANDARDIZATION_IMAGES)
    rows = (images[:, None] * feed.per_image + torch.arange(feed.per_image)).flatten()
    return {name: sums.outliers for name, sums in sums_of(feed, rows).items()}


def rounds_of(images: range, images_per_shard: int, ranks: int) -> list[list[range]]:
    """The images of each rank's shard, round after round; the last round may have fewer shards than there are ranks."""
    shards = [images[first : first + images_per_shard] for first in range(0, len(images), images_per_shard)]
    return [shards[first : first + ranks] for first in range(0, len(shards), ranks)]


class _RankShards:
    """The shards that this rank fills, one per round: what is kept of them, and the images that are left to be seen."""

    def __init__(
        self,
        source: ImageSource,
        record: StoreRecord,
        backbones: Mapping[str, Backbone],
        rounds: Sequence[Sequence[range]],
        pieces: Pieces,
        ranks: DistributedContext,
        settings: ExtractSettings,
    ) -> None:
        self.record, self.backbones, self.pieces, self.rank = record, backbones, pieces, ranks.rank
        own_shards = [each[ranks.rank] for each in rounds if ranks.rank < len(each)]
        self.pieces_of = {tried: pieces.of(tried, record.widths, record.grid) for tried in own_shards}
        remaining = {
            tried: tried[ready[-1].tried.stop - tried.start :] if ready else tried
            for tried, ready in self.pieces_of.items()
        }
        batch = settings.image_batch
        groups = {tried: [rest[n : n + batch] for n in range(0, len(rest), batch)] for tried, rest in remaining.items()}
        self.counts = {tried: len(batches) for tried, batches in groups.items()}
        self.batches = read_groups(source, largest_input(backbones), list(chain(*groups.values())), settings.readers)

    def fill(self, each: Sequence[range], done: Callable[[int], None]) -> ExtractedTokens | None:
        """This rank's shard of a round, pieces of it kept meanwhile, and `done` called; None where it has none."""
        if self.rank >= len(each):
            return None
        tried = each[self.rank]
        shard = _ShardInProgress(tried, self.record)
        for piece in self.pieces_of.pop(tried):
            shard.take(piece)
        for indices, canvases, broken in islice(self.batches, self.counts[tried]):
            shard.failures.extend({"image": failure.number, "why": failure.why} for failure in broken)
            shard.add(indices, self._seen(indices, canvases) if indices else {})
            if self.pieces.due and shard.n_tried < len(tried):
                self.pieces.write(shard.new_piece())
                self.pieces.check(tried.start + shard.n_tried, self.record.n_images)
            done(shard.n_tried)
        return shard.result()

    def _seen(self, indices: Sequence[int], canvases: torch.Tensor) -> dict[str, torch.Tensor]:
        """{backbone: (image, token, width)}, as they are stored, all of them finite."""
        device = next(iter(self.backbones.values())).mean.device
        dtype, stored = getattr(torch, self.record.dtype), dict[str, torch.Tensor]()
        shown = canvases.to(device, non_blocking=True)
        for name, tokens in tokens_together(self.backbones, shown, self.record.grid).items():
            stored[name] = tokens.to(dtype)
            if not stored[name].isfinite().all():
                raise UsageError(
                    f"{name}: some tokens of the pictures {indices[0]} to {indices[-1]} are NaN or infinite in "
                    f"{self.record.dtype}; check the backbone's weights, or give another --storage-dtype or "
                    "--compute-dtype"
                )
        return stored


class _ShardInProgress:
    """What is known of one shard's images: tokens of those that were read, and why others were not."""

    def __init__(self, tried: range, record: StoreRecord) -> None:
        shape, dtype = (len(tried), record.grid[0] * record.grid[1]), getattr(torch, record.dtype)
        self.tried = tried
        self.tokens = {name: torch.empty(*shape, width, dtype=dtype) for name, width in record.widths.items()}
        self.numbers, self.failures = list[int](), list[dict[str, object]]()
        self._written = 0, 0  # of each, what is in pieces

    @property
    def n_tried(self) -> int:
        """How many of its images were tried."""
        return len(self.numbers) + len(self.failures)

    def add(self, numbers: Sequence[int], tokens: Mapping[str, torch.Tensor]) -> None:
        """Take in images that were read."""
        for name, values in tokens.items():
            self.tokens[name][len(self.numbers) : len(self.numbers) + len(numbers)] = values
        self.numbers.extend(numbers)

    def take(self, piece: ExtractedTokens) -> None:
        """Take in what a piece has kept."""
        self.add(piece.numbers, piece.tokens)
        self.failures.extend(piece.failures)
        self._written = len(self.numbers), len(self.failures)

    def new_piece(self) -> ExtractedTokens:
        """What is in no piece yet, to be kept as one."""
        (first, broken), n_tried = self._written, self.n_tried
        self._written = len(self.numbers), len(self.failures)
        tokens = {name: values[first : len(self.numbers)] for name, values in self.tokens.items()}
        tried = self.tried[first + broken : n_tried]
        return ExtractedTokens(tried, tokens, self.numbers[first:], self.failures[broken:])

    def result(self) -> ExtractedTokens:
        """All of it."""
        tokens = {name: values[: len(self.numbers)] for name, values in self.tokens.items()}
        return ExtractedTokens(self.tried, tokens, self.numbers, self.failures)


def _until_all_know(ranks: DistributedContext) -> AbstractContextManager[None]:
    """A stop within it is not one yet where other processes would wait for this one: `_stop_together` follows."""
    return nullcontext() if ranks.world_size == 1 else suppress(Stopped)


def _stop_together(
    pieces: Pieces, ranks: DistributedContext, each: Sequence[range], filled: ExtractedTokens | None, n_images: int
) -> None:
    """End all processes here when one was asked to stop; a shard that is whole is kept as a piece, as parts of one are.

    Args:
        pieces: this process's.
        ranks: all of them.
        each: the images of each one's shard.
        filled: this one's shard, where it is whole.
        n_images: how many there are in all.

    Raises:
        Stopped: then; says how many images are kept.
    """
    if ranks.world_size == 1:
        return
    signal_number = max(ranks.gather(pieces.signal_number))
    if not signal_number:
        return
    pieces.stop(signal_number)
    if filled is not None:
        pieces.write(filled)
    n_done = pieces.until - each[ranks.rank].start if ranks.rank < len(each) else 0
    pieces.check(each[0].start + sum(ranks.gather(n_done)), n_images)


def _write(out: Path, number: int, filled: ExtractedTokens) -> Written:
    numbers = torch.tensor(filled.numbers, dtype=torch.long)
    return write_shard(out, number, filled.tokens, numbers, filled.tried), filled.failures
