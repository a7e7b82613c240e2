"""From pictures to paired tokens in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.common_sizes import largest_input
from usae_train.backbones.shared_pass import tokens_together
from usae_train.images.settings import IMAGE_BATCH
from usae_train.images.sources import ImageSource, none_can_be_read, read_batches, readable_batches
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.memory import present_memory
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults

SAMPLE_BATCH_SIZE = 256  # pictures of a sample in memory at a time: a multiple of what backbones and USAE take


@dataclass(frozen=True)
class PairedTokens:
    """What several backbones see in the same pictures."""

    tokens: dict[str, Tensor]  # {backbone: (image, token, width)}
    numbers: Tensor  # (image,) each picture's number in its source
    failures: list[str] = field(default_factory=list)  # pictures that could not be read, each with why
    canvases: Tensor | None = None  # (image, 3, size, size), where they were asked for

    def select(self, numbers: Tensor) -> PairedTokens:
        """Those of the pictures that have one of these numbers."""
        chosen = torch.isin(self.numbers, numbers)
        if chosen.all():  # and nothing is copied
            return self
        return PairedTokens(
            {name: tokens[chosen] for name, tokens in self.tokens.items()}, self.numbers[chosen], self.failures
        )

    def batches(self, size: int) -> Iterator[PairedTokens]:
        """These tokens, this many pictures at a time."""
        for first in range(0, len(self.numbers), size):
            rows = slice(first, first + size)
            canvases = None if self.canvases is None else self.canvases[rows]
            tokens = {name: values[rows] for name, values in self.tokens.items()}
            yield PairedTokens(tokens, self.numbers[rows], canvases=canvases)

    def flat(self) -> dict[str, Tensor]:
        """{backbone: (image * token, width)}."""
        return {name: tokens.flatten(0, 1) for name, tokens in self.tokens.items()}


def joined_tokens(parts: Sequence[PairedTokens]) -> PairedTokens:
    """Some pictures after others as one."""
    tokens = {name: torch.cat([part.tokens[name] for part in parts]) for name in parts[0].tokens}
    return PairedTokens(tokens, torch.cat([part.numbers for part in parts]))


@dataclass(frozen=True)
class TokenSource:
    """Where paired tokens come from.

    Attributes:
        backbones: {name: backbone}.
        source: the pictures; read at the largest input size of the backbones.
        grid: (rows, cols) of the tokens.
        ranks: processes that divide the pictures; each then has the tokens of all.
        readers: processes that read pictures; 0 reads in this one.
    """

    backbones: Mapping[str, Backbone]
    source: ImageSource
    grid: tuple[int, int]
    ranks: DistributedContext = SINGLE_PROCESS
    readers: int = 0

    @property
    def input_size(self) -> int:
        """Pixels per side that pictures are read at."""
        return largest_input(self.backbones)

    def tokens_of(self, canvases: Tensor) -> dict[str, Tensor]:
        """{backbone: (batch, rows * cols, width)} of canvases (batch, 3, size, size), on the backbones' device."""
        device = next(iter(self.backbones.values())).mean.device
        return tokens_together(self.backbones, canvases.to(device), self.grid)


@with_torch_defaults
@torch.no_grad()
def collect_tokens(
    origin: TokenSource,
    batch: int = IMAGE_BATCH,
    storage_dtype: torch.dtype = torch.bfloat16,
    progress: CountCallback = lambda done, total: None,
    tried: Sequence[int] | None = None,
    allow_none: bool = False,
) -> PairedTokens:
    """Run every picture of a source through every backbone, once.

    Args:
        origin: the pictures and the backbones.
        batch: pictures per forward pass.
        storage_dtype: what to keep the tokens in.
        progress: called after each batch.
        tried: numbers of the pictures; all by default.
        allow_none: it is not an error when no picture of these can be read.

    Raises:
        ValueError: when no picture can be read, or the tokens would not fit into memory.
    """
    source, grid, ranks = origin.source, origin.grid, origin.ranks
    total = len(source) if tried is None else len(tried)
    _check_memory(total * bytes_per_image(origin.backbones, grid, storage_dtype), total)
    numbers: list[int] = []
    failures: list[str] = []
    piece = ranks.local_range(total, batch)
    local = range(len(source))[piece.start : piece.stop] if tried is None else tried[piece.start : piece.stop]
    tokens = {
        name: torch.empty(len(local), grid[0] * grid[1], b.width, dtype=storage_dtype)
        for name, b in origin.backbones.items()
    }
    for indices, canvases, broken in read_batches(source, origin.input_size, batch, local, origin.readers):
        failures.extend(failure.why for failure in broken)
        if indices:
            done = slice(len(numbers), len(numbers) + len(indices))
            for name, batch_tokens in origin.tokens_of(canvases).items():
                tokens[name][done] = batch_tokens.to("cpu", storage_dtype)
        numbers.extend(indices)
        progress(min(total, ranks.world_size * (len(numbers) + len(failures))), total)
    every = {name: ranks.all_gather_rows(values[: len(numbers)]) for name, values in tokens.items()}
    all_failures = [failure for each in ranks.gather(failures) for failure in each]
    read = ranks.all_gather_rows(torch.tensor(numbers, dtype=torch.long))
    with ranks.raise_together():
        if not (len(read) or allow_none):
            raise none_can_be_read(total, source, all_failures[0])
    return PairedTokens(every, read, all_failures)


def bytes_per_image(
    backbones: Mapping[str, Backbone], grid: tuple[int, int], dtype: torch.dtype = torch.bfloat16
) -> int:
    """Memory that one picture's tokens take."""
    return grid[0] * grid[1] * sum(b.width for b in backbones.values()) * dtype.itemsize


@with_torch_defaults
@torch.no_grad()
def stream_tokens(
    origin: TokenSource, batch: int = IMAGE_BATCH, tried: Sequence[int] | None = None, canvases: bool = False
) -> Iterator[PairedTokens]:
    """Tokens of pictures a batch at a time, on the backbones' device; nothing is kept.

    Args:
        origin: the pictures and the backbones.
        batch: pictures per forward pass.
        tried: numbers of the pictures; all by default.
        canvases: also give the pictures themselves, as they are read, on the backbones' device.
    """
    device = next(iter(origin.backbones.values())).mean.device
    for indices, read, broken in read_batches(origin.source, origin.input_size, batch, tried, origin.readers):
        shown = read.to(device)
        tokens = origin.tokens_of(shown) if indices else {}
        failures = [failure.why for failure in broken]
        yield PairedTokens(tokens, torch.tensor(indices, dtype=torch.long), failures, shown if canvases else None)


@with_torch_defaults
@torch.no_grad()
def stream_readable(
    origin: TokenSource,
    batch: int = IMAGE_BATCH,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> Iterator[PairedTokens]:
    """Tokens of all pictures that can be read, a batch at a time; arguments and errors as of `readable_batches`."""
    batches = readable_batches(origin.source, origin.input_size, batch, progress, failure, origin.readers)
    for numbers, canvases in batches:
        yield PairedTokens(origin.tokens_of(canvases), torch.tensor(numbers))


def _check_memory(needed: int, n_images: int) -> None:
    present = present_memory()
    if needed > 0.6 * present:
        fitting = int(n_images * 0.6 * present / needed)
        raise UsageError(
            f"the tokens of {n_images} pictures need {needed / 1e9:.0f} GB of memory, and this machine has "
            f"{present / 1e9:.0f} GB; take at most {fitting} pictures with --limit, "
            "or write them to a store with usae-train extract"
        )
