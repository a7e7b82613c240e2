"""Extraction: every image through every backbone, once, into an activation store; stopped and resumed as one likes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from usae_train.atomic import atomic_path, check_writable
from usae_train.backbones import Backbone, BackboneSpec, build_backbones, common_grid
from usae_train.distributed import ALONE, Ranks
from usae_train.feeding import StoreFeed
from usae_train.images import ImageSource, read_batches
from usae_train.standardization import STANDARDIZATION_IMAGES, Outliers, sums_of
from usae_train.store import FAILURES, SCHEMA, ActivationStore, Shard, StoreRecord, is_store, read_record, write_record
from usae_train.store import write_shard as write

SHARD_BYTES = 512e6
MAX_BROKEN = 0.01
Progress = Callable[[int, int], None]  # images done, images in all


def plan(source: ImageSource, specs: Mapping[str, BackboneSpec], dtype: str = "bfloat16") -> tuple[StoreRecord, float]:
    """What an extraction will write: its record, and the size in GB.

    Raises:
        ValueError: for backbones that cannot be built.
    """
    backbones = build_backbones(specs)
    grid = common_grid(list(backbones.values()))
    record = StoreRecord(
        schema=SCHEMA, backbones=dict(specs), widths={name: b.width for name, b in backbones.items()}, grid=grid,
        dtype=dtype, source=source.name, fingerprint=source.fingerprint(), n_images=len(source),
    )  # fmt: skip
    return record, len(source) * bytes_an_image(record) / 1e9


def bytes_an_image(record: StoreRecord) -> int:
    """Size of one image's tokens on disk."""
    tokens = record.grid[0] * record.grid[1]
    return tokens * sum(record.widths.values()) * getattr(torch, record.dtype).itemsize


@torch.no_grad()
def extract(
    source: ImageSource, record: StoreRecord, out: Path, *, batch: int = 32, device: torch.device | str = "cpu",
    run_in: torch.dtype = torch.float32, workers: int = 0, max_broken: float = MAX_BROKEN,
    images_a_shard: int | None = None, progress: Progress = lambda done, total: None, ranks: Ranks = ALONE,
) -> ActivationStore:  # fmt: skip
    """Write an activation store, or go on with one where it stopped.

    Args:
        source: the images.
        record: what `plan` made of them and the backbones.
        out: the store's folder.
        batch: images a forward pass.
        device: where the backbones run.
        run_in: what the backbones run in.
        workers: processes that read images; 0 reads in this one.
        max_broken: largest share of images that may be unreadable.
        images_a_shard: as many as make 512 MB unless told.
        progress: called after each batch.
        ranks: the processes that extract together, a shard each at a time; `out` is on a disk that all of them see.

    Raises:
        ValueError: for a store of other settings or a finished one, a disk without room, too many broken images.
    """
    with ranks.together():
        begun = _begin(record, out) if ranks.first else record
    record, failures = ranks.from_first((begun, _read_failures(out, begun) if ranks.first else []))
    images_a_shard = images_a_shard or max(batch, int(SHARD_BYTES / bytes_an_image(record)))
    backbones = {name: backbone.to(device) for name, backbone in build_backbones(record.backbones).items()}
    while (first := _tried(record)) < len(source):
        starts = range(first, len(source), images_a_shard)[: ranks.count]
        written: tuple[Shard, list[dict[str, object]]] | None = None
        with ranks.together():
            if ranks.number < len(starts):
                start = starts[ranks.number]
                written = _extract_shard(
                    source, record, backbones, out, len(record.shards) + ranks.number,
                    range(start, min(start + images_a_shard, len(source))), batch, run_in, workers,
                    partial(_progress_of_all, progress, first, len(starts), len(source)),
                )  # fmt: skip
        together = [each for each in ranks.gather(written) if each is not None]
        record = record.model_copy(update={"shards": (*record.shards, *(shard for shard, _ in together))})
        failures.extend(failure for _, broken in together for failure in broken)
        with ranks.together():
            if ranks.first:
                _note(source, record, failures, out, max_broken)
    with ranks.together():
        if not sum(shard.images for shard in record.shards):
            raise ValueError(f"none of the {len(source)} images of {source.name} can be read")
        if ranks.first:
            write_record(out, record.model_copy(update={"complete": True}))
    return ActivationStore(out)


def first_outliers(store: ActivationStore) -> dict[str, Outliers]:
    """High-norm tokens of a store, counted in its first images, 1000 at most."""
    feed = StoreFeed(store, 0)
    rows = torch.arange(min(len(feed), STANDARDIZATION_IMAGES * feed.per_image))
    return {name: own.outliers for name, own in sums_of(feed, rows).items()}


def _progress_of_all(progress: Progress, first: int, ranks: int, total: int, done: int) -> None:
    progress(min(first + done * ranks, total), total)


def _tried(record: StoreRecord) -> int:
    """How many images have been tried for the shards that are done."""
    return record.shards[-1].last + 1 if record.shards else 0


def _note(
    source: ImageSource, record: StoreRecord, failures: list[dict[str, object]], out: Path, max_broken: float
) -> None:  # fmt: skip
    """Write down what has been done, unless too many images are broken."""
    _write_failures(out, failures)
    if len(failures) > max_broken * len(source):
        raise ValueError(
            f"{len(failures)} of {_tried(record)} images cannot be read, more than {max_broken:.1%} of all; the first: "
            f"{failures[0]['why']}; see {out / FAILURES}, or allow more with --max-broken"
        )
    for shard in record.shards:
        if not (out / shard.file).is_file():
            raise ValueError(
                f"{out / shard.file} is not here: another machine wrote it on a disk of its own; "
                "give an --out that all machines see"
            )
    write_record(out, record)


def _extract_shard(
    source: ImageSource, record: StoreRecord, backbones: Mapping[str, Backbone], out: Path, number: int,
    tried: range, batch: int, run_in: torch.dtype, workers: int, done: Callable[[int], None],
) -> tuple[Shard, list[dict[str, object]]]:  # fmt: skip
    """Write one shard; and those of its images that cannot be read."""
    failures: list[dict[str, object]] = []
    size = max(backbone.input_size for backbone in backbones.values())
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in backbones}
    numbers, done_images = list[int](), 0
    for indices, canvases, broken in read_batches(source, size, batch, tried, workers):
        failures.extend({"image": failure.number, "why": failure.why} for failure in broken)
        done_images += len(indices) + len(broken)
        done(done_images)
        for name, backbone in backbones.items() if indices else ():
            shown = canvases.to(backbone.mean.device, non_blocking=True)
            with torch.autocast(shown.device.type, run_in, enabled=run_in != torch.float32):
                seen = backbone(shown, record.grid)
            parts[name].append(seen.to("cpu", getattr(torch, record.dtype)))
        numbers.extend(indices)
    tokens = record.grid[0] * record.grid[1]
    empty = {
        name: torch.empty(0, tokens, width, dtype=getattr(torch, record.dtype)) for name, width in record.widths.items()
    }
    joined = {name: torch.cat([empty[name], *own]) for name, own in parts.items()}
    return write(out, number, joined, torch.tensor(numbers, dtype=torch.long), tried), failures


def _begin(record: StoreRecord, out: Path) -> StoreRecord:
    """The record to go on with: a new one, or that of the same extraction."""
    if is_store(out):
        found = read_record(out)
        if found.complete:
            raise ValueError(f"{out} is a finished store, which is never changed; choose another --out")
        if differences := found.differences(record):
            raise ValueError(
                f"{out} was begun with another {', '.join(differences)}; give the same again, or choose another --out"
            )
        return found
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} exists already and is no store; choose another --out, or remove it first")
    check_writable(out / "store.json")
    needed = record.n_images * bytes_an_image(record)
    place = next(parent for parent in (out, *out.resolve().parents) if parent.exists())
    if (free := shutil.disk_usage(place).free) < needed:
        raise ValueError(f"{out} will take {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free")
    out.mkdir(parents=True, exist_ok=True)
    write_record(out, record)
    return record


def _read_failures(out: Path, record: StoreRecord) -> list[dict[str, object]]:
    """Those of the shards that are done: a shard that was stopped is tried again."""
    first = _tried(record)
    file = out / FAILURES
    lines = file.read_text().splitlines() if file.is_file() else []
    return [failure for line in lines if (failure := json.loads(line))["image"] < first]


def _write_failures(out: Path, failures: list[dict[str, object]]) -> None:
    if failures:
        with atomic_path(out / FAILURES) as temporary:
            temporary.write_text("".join(json.dumps(failure) + "\n" for failure in failures))
