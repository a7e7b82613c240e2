"""Pictures of a Hugging Face dataset: an id of the hub, or a local folder."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor

from usae_train.files.provenance import required
from usae_train.pictures.images import read_picture

SAMPLED = 256  # pictures whose bytes go into the fingerprint


class HubImages:
    """The pictures of one split, numbered as its rows.

    A dataset of the hub is fetched by `datasets` into its own cache, whole, and read in any order from there.

    Args:
        dataset: `NAME` or `NAME:SPLIT`; NAME is a hub id, or a folder that `save_to_disk` wrote or that holds parquet.
            SPLIT is `train` unless told, or the only one; `train[:1000]` takes a part.

    Raises:
        ValueError: for a dataset that cannot be had, an unknown split, no column of pictures, or without the package
            `datasets`.
    """

    drawn_from: int | None = None

    def __init__(self, dataset: str) -> None:
        datasets = required("datasets", "hf")
        if not sys.stderr.isatty():
            datasets.disable_progress_bars()
        name, _, split = dataset.partition(":")
        local = Path(name).expanduser()
        rows = _rows(datasets, str(local.resolve()) if local.is_dir() else name, split)
        columns = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
        if not columns:
            raise ValueError(f"hf:{dataset} has no column of pictures; its columns are {', '.join(rows.features)}")
        self.column = columns[0]
        self.rows = rows.select_columns(columns[:1]).cast_column(self.column, datasets.Image(decode=False))
        if not len(self.rows):
            raise ValueError(f"hf:{dataset} has no pictures: the split is empty")
        self.name = f"hf:{local.resolve() if local.is_dir() else name}" + (f":{split}" if split else "")

        self.numbers: Sequence[int] = range(len(rows))  # of the split's rows

    def chosen(self, numbers: Sequence[int]) -> HubImages:
        """Those of its pictures alone; they keep their labels."""
        found = copy(self)
        found.rows = self.rows.select(numbers)
        found.numbers = [self.numbers[number] for number in numbers]
        return found

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, size: int) -> Tensor:
        content = self._content(index)
        if content is None:
            raise ValueError(f"{self.label(index)} cannot be read: the row has no picture")
        return read_picture(io.BytesIO(content), size, self.label(index))

    def label(self, index: int) -> str:
        return f"row {self.numbers[index]}"

    def fingerprint(self) -> str:
        """A hash of the number of rows and of the pictures of 256 of them, spread over all."""
        digest = hashlib.sha256(f"{len(self)}\0{self.column}\n".encode())
        for place in range(min(SAMPLED, len(self))):
            content = self._content(place * len(self) // min(SAMPLED, len(self)))
            digest.update(hashlib.sha256(content or b"").digest())
        return digest.hexdigest()

    def _content(self, index: int) -> bytes | None:
        picture = self.rows[index][self.column]
        if picture is None:
            return None
        if picture["bytes"] is not None:
            return bytes(picture["bytes"])
        try:
            return Path(picture["path"]).read_bytes()
        except OSError:
            return None


def _rows(datasets: Any, name: str, split: str) -> Any:
    """A split's rows, in one line of error when they cannot be had."""
    folder = Path(name)
    kept = any((folder / file).is_file() for file in ("state.json", "dataset_dict.json"))  # by save_to_disk
    try:
        found = datasets.load_from_disk(name) if kept else datasets.load_dataset(name, split=split or None)
    except Exception as error:  # requests, pyarrow, hub, file system: anything
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"hf:{name} could not be had: {reason}; check the id, the split and the network") from error
    if not isinstance(found, datasets.DatasetDict):
        return found
    if not split:
        split = "train" if "train" in found or len(found) != 1 else next(iter(found))
    if split not in found:
        raise ValueError(f"hf:{name} has no split {split!r}; it has {', '.join(found)}")
    return found[split]
