"""Peak resident memory of training from a store and from pictures, against what `--memory` allows.

A store of random tokens (three backbones of width 384, 14x14 patches) that is several times larger than the memory
allowed, and a stream of noise pictures through two small random ViTs; each is trained on in a process of its own. What
is asked: a peak of at most the memory allowed plus 1 GB, whatever the size. Run from the project's root:

    python tests/benchmarks/memory.py [--memory 0.25] [--gigabytes 0.5 2]

Measured (--memory 0.1 --only store --gigabytes 0.9 2.7, shards of 452 MB, OMP_NUM_THREADS=1): peaks of 1.01 and 1.04
GB, where 1.10 is asked; 0.74 GB of them were there before it began (Python, torch). Before, 4.1 GB were reached in
standardization alone (a store of 1 GB): the allocator did not use again what lay between small tensors that stayed.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch

from usae_train.backbones.spec import BackboneSpec
from usae_train.tokens.store import STORE_SCHEMA, ActivationStore, StoreRecord, write_record, write_shard
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.execution import Execution
from usae_train.training.fitting import fit_pictures, fit_store
from usae_train.training.resolving import fit_settings

GRID, WIDTH, NAMES = (14, 14), 384, ("a", "b", "c")
IMAGE = 196 * WIDTH * len(NAMES) * 2  # bytes
SHARD = 1000  # images: 452 MB, near what `extract` writes
SIZE = {"n_concepts": 64, "k": 4, "batch": 2048}
PAPER_SIZE = {"n_concepts": 6144, "k": 32, "batch": 4096}
VIT = {"patch_size": 4, "embed_dim": 192, "depth": 1, "num_heads": 3}  # 576 tokens per picture of 96 px

Said: TypeAlias = "multiprocessing.Queue[tuple[float, float]]"  # what a process says: GB before it began, and at most


class Noise:
    """Pictures of noise, drawn when they are read."""

    name = "noise"
    left_out = ""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, size: int) -> torch.Tensor:
        return torch.rand(3, size, size, generator=torch.Generator().manual_seed(index))

    def label(self, index: int) -> str:
        return str(index)

    def fingerprint(self) -> str:
        return f"noise-{self.count}"


def write_store(folder: Path, gigabytes: float) -> None:
    """Random tokens, a shard at a time."""
    count = max(1, round(gigabytes * 1e9 / IMAGE / SHARD))
    shards = []
    folder.mkdir()
    for number in range(count):
        tokens = {name: torch.randn(SHARD, 196, WIDTH).bfloat16() for name in NAMES}
        tried = range(number * SHARD, (number + 1) * SHARD)
        shards.append(write_shard(folder, number, tokens, torch.arange(tried.start, tried.stop), tried))
    record = StoreRecord(
        schema=STORE_SCHEMA,
        backbones={name: BackboneSpec(model="none") for name in NAMES},
        grid=GRID,
        dtype="bfloat16",
        widths=dict.fromkeys(NAMES, WIDTH),
        source="random",
        fingerprint="random",
        n_images=count * SHARD,
        complete=True,
        shards=tuple(shards),
    )
    write_record(folder, record)


def peak() -> float:
    """GB that this process had resident at most: Linux's VmHWM, for getrusage's counts the parent's as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def train_on_store(folder: str, memory: float, size: dict[str, Any], steps: int | None, said: Said) -> None:
    """More than one epoch on a store, or some steps; a state is written at the end, as the command does."""
    store, before = ActivationStore(folder), peak()
    settings = fit_settings("default", steps=steps or len(store) * 196 // 2048 + 5, **size)
    states = TrainingCheckpointer(Path(folder).with_name("states"))
    fit_store(store, settings, Execution(checkpointer=states, memory=memory))
    said.put((before, peak()))


def train_on_pictures(count: int, memory: float, size: dict[str, Any], steps: int | None, said: Said) -> None:
    """One epoch and the beginning of a second on a stream, or some steps."""
    before = peak()
    specs = {
        name: BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=96, options=VIT, seed=seed)
        for seed, name in enumerate(("a", "b"))
    }
    settings = fit_settings("default", steps=steps or count * 576 // 2048 + 5, **size)
    fit_pictures(Noise(count), settings, specs, Execution(memory=memory))
    said.put((before, peak()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=float, default=0.25, help="GB, as --memory of usae-train fit")
    parser.add_argument(
        "--gigabytes", type=float, nargs="+", default=[0.5, 2.0], help="sizes of the store, and of the pictures' tokens"
    )
    parser.add_argument("--only", choices=["store", "images"], help="this alone")
    parser.add_argument("--paper", action="store_true", help="6144 concepts, k = 32, 4096 tokens per step, 8 steps")
    chosen = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")  # a process of its own, with a peak of its own
    size, steps = (PAPER_SIZE, 8) if chosen.paper else (SIZE, None)
    for gigabytes in chosen.gigabytes:
        with tempfile.TemporaryDirectory() as room:
            pictures = round(gigabytes * 1e9 / (576 * 2 * 192 * 2))
            runs: dict[str, tuple[str, Callable[..., None], object]] = {
                "images": ("fit IMAGES", train_on_pictures, pictures)
            }
            if chosen.only != "images":
                write_store(Path(room) / "store", gigabytes)
                runs = {"store": ("fit STORE", train_on_store, str(Path(room) / "store")), **runs}
            for what, function, data in (run for name, run in runs.items() if chosen.only in (None, name)):
                said = spawn.Queue()
                process = spawn.Process(target=function, args=(data, chosen.memory, size, steps, said))
                process.start()
                before, highest = said.get()
                process.join()
                print(
                    f"{what:10s} {gigabytes:.2f} GB of tokens, {chosen.memory:.2f} GB allowed: peak {highest:.2f} GB"
                    f" ({before:.2f} before it began); asked: at most {chosen.memory + 1:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
