"""What of a shard is known before it is whole: pieces beside the shards, which a stopped extraction resumes from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.files.json_files import parse_json, validate
from usae_train.files.tensor_files import safe_open, save_tensors
from usae_train.runtime.errors import UsageError
from usae_train.runtime.signals import Stopped
from usae_train.tokens.store import IMAGES, Unreadable

PIECE_SECONDS = 60.0  # between two pieces: what a kill can lose
UNREADABLES = TypeAdapter(list[Unreadable])
BROKEN = "broken"  # a piece's own word for its images that cannot be read


class ExtractedTokens(NamedTuple):
    """Images that were tried one after the other, and what was seen in them."""

    tried: range
    tokens: dict[str, Tensor]  # {backbone: (image, token, width)}
    numbers: list[int]
    failures: list[dict[str, Any]]


class Pieces:
    """Writes and finds the pieces of an unfinished store; each lies there whole or not at all.

    Args:
        folder: the store's.
        seconds: time between two.

    Attributes:
        signal_number: the signal that asked to stop; 0 for none.
        until: where the last one that was written ends.
    """

    def __init__(self, folder: Path, seconds: float = PIECE_SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self._last, self.signal_number, self.until = time.monotonic(), 0, 0

    @property
    def due(self) -> bool:
        """Whether it is time to write: a while has passed, or a stop was asked for."""
        return self.signal_number > 0 or time.monotonic() - self._last >= self.seconds

    def stop(self, number: int) -> None:
        """Ask to stop after the batch that is running, as a signal does."""
        self.signal_number = number

    def check(self, n_kept: int, total: int) -> None:
        """End here when a stop was asked for.

        Args:
            n_kept: how many images are on the disk.
            total: how many there are.

        Raises:
            Stopped: then; says what is kept.
        """
        if self.signal_number:
            raise Stopped(
                f"stopped; {n_kept} of {total} pictures are kept in {self.folder}; "
                "run the same command again to resume",
                self.signal_number,
            )

    def write(self, piece: ExtractedTokens) -> None:
        """Keep a piece.

        Raises:
            ValueError: when it cannot be written.
        """
        numbers = torch.tensor(piece.numbers, dtype=torch.long)
        with atomic_path(self._file(piece.tried)) as temporary:
            save_tensors({**piece.tokens, IMAGES: numbers}, temporary, {BROKEN: json.dumps(piece.failures)})
        self._last, self.until = time.monotonic(), piece.tried.stop

    def of(self, tried: range, widths: Mapping[str, int], grid: tuple[int, int]) -> list[ExtractedTokens]:
        """The pieces that a shard of these images begins with, one after the other."""
        pieces, start = list[ExtractedTokens](), tried.start
        starting = {images.start: images for images in self._ranges() if images.stop <= tried.stop}
        while start in starting:
            piece = self._read(starting[start], widths, grid[0] * grid[1])
            if piece is None:
                break
            pieces.append(piece)
            start = piece.tried.stop
        return pieces

    def remove(self, until: int | None = None) -> None:
        """Remove those of images before number `until`, which are in shards; all by default."""
        for images in self._ranges():
            if until is None or images.start < until:
                self._file(images).unlink(missing_ok=True)

    def _file(self, tried: range) -> Path:
        return self.folder / f"piece-{tried.start:09d}-{tried.stop:09d}.safetensors"

    def _ranges(self) -> list[range]:
        ranges = []
        for file in sorted(self.folder.glob("piece-*-*.safetensors")):
            with suppress(ValueError):
                first, last = file.stem.split("-")[1:]
                ranges.append(range(int(first), int(last)))
        return ranges

    def _read(self, tried: range, widths: Mapping[str, int], tokens_each: int) -> ExtractedTokens | None:
        """A piece; None for one that cannot be read, whose images are seen again."""
        try:
            with safe_open(self._file(tried), "pt") as opened:
                tokens = {name: opened.get_tensor(name) for name in widths}
                numbers = opened.get_tensor(IMAGES).flatten().tolist()
                listed = parse_json((opened.metadata() or {}).get(BROKEN, ""))
                failures = [failure.model_dump() for failure in validate(UNREADABLES.validate_python, listed)]
        except (SafetensorError, OSError, UsageError):
            return None
        piece = ExtractedTokens(tried, tokens, numbers, failures)
        return piece if _fits(piece, widths, tokens_each) else None


def _fits(piece: ExtractedTokens, widths: Mapping[str, int], tokens_each: int) -> bool:
    """Whether a piece is of the pictures that its name says, and of these shapes."""
    numbers = [*piece.numbers, *(failure["image"] for failure in piece.failures)]
    return (
        all(isinstance(number, int) for number in numbers)
        and sorted(numbers) == list(piece.tried)
        and all(part.shape == (len(piece.numbers), tokens_each, widths[name]) for name, part in piece.tokens.items())
        and all(part.is_floating_point() and bool(part.isfinite().all()) for part in piece.tokens.values())
    )
