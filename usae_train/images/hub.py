"""Pictures of a Hugging Face dataset: an id of the hub, or a local folder."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.files.provenance import import_extra
from usae_train.files.regular import check_regular
from usae_train.images.decoding import read_picture
from usae_train.images.indexing import IndexedImages
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import one_line

FINGERPRINTED_ROWS = 256  # pictures whose bytes go into the fingerprint
_COLON = re.compile(r":(?![^\[]*\])")  # not that of a slice


class DatasetRequest(NamedTuple):
    """What `NAME[:SPLIT[:COLUMN]]` asks for; empty where it does not say."""

    name: str
    split: str
    column: str
    local: Path | None  # the folder that the name is of

    @property
    def text(self) -> str:
        """As it is asked for, the folder in full."""
        name = self.name if self.local is None else name_as_utf8(str(self.local))
        return "hf:" + ":".join([name, self.split, self.column]).rstrip(":")


class HubImages(IndexedImages):
    """The pictures of one column of one split, numbered as its rows.

    A dataset of the hub is fetched by `datasets` into its own cache, whole, and read in any order from there.

    Args:
        dataset: `NAME`, `NAME:SPLIT` or `NAME:SPLIT:COLUMN` (`NAME::COLUMN`); NAME is a hub id, or a folder that
            `save_to_disk` wrote or that holds parquet. SPLIT is `train` by default, or the only one; `train[:1000]` or
            `train[:10%]` takes a part, `train+test` both. One dataset that was saved without a split's name is
            `train`. COLUMN is the one of pictures, and has to be given where there are several.

    Raises:
        ValueError: for a dataset that cannot be opened, an unknown or empty split, no column of pictures or several of
            which none is named, or without the package `datasets`.
    """

    drawn_from: int | None = None
    left_out = ""

    def __init__(self, dataset: str) -> None:
        datasets = import_extra("datasets", "hf")
        if not sys.stderr.isatty():
            datasets.disable_progress_bars()
        request = _request_of(dataset)
        self.name = request.text
        rows = _dataset_rows(datasets, request)
        self.column = _column(datasets, rows, request)
        self.rows = rows.select_columns([self.column]).cast_column(self.column, datasets.Image(decode=False))
        if not len(self.rows):
            raise UsageError(f"{self.name} has no pictures: the split is empty")

        self.numbers: Sequence[int] = range(len(rows))  # of the split's rows
        self._split = rows

    def chosen(self, numbers: Sequence[int]) -> HubImages:
        """Those of its pictures alone; they keep their labels."""
        subset = copy(self)
        subset.rows = self.rows.select(numbers)
        subset.numbers = [self.numbers[number] for number in numbers]
        return subset

    @property
    def class_columns(self) -> list[str]:
        """The columns that are of classes."""
        return [each for each, feature in self._split.features.items() if type(feature).__name__ == "ClassLabel"]

    def classes(self, column: str | None = None) -> tuple[list[str], list[int]] | None:
        """The classes' names and each picture's class, -1 for none, by a column of labels.

        Args:
            column: which one, of classes, texts or whole numbers; by default the only one of classes.

        Returns:
            None where none is named, and not one column alone is of classes (`class_columns`).

        Raises:
            ValueError: for a column that is not there or is not a label.
        """
        features = self._split.features
        if column is None:
            if len(columns := self.class_columns) != 1:
                return None
            column = columns[0]
        if column not in features:
            raise UsageError(f"{self.name} has no column {column!r}; its columns are {', '.join(features)}")
        values = self._split.select_columns([column]).select(self.numbers)[:][column]
        class_names = getattr(features[column], "names", None)
        if class_names is not None:
            return list(class_names), [-1 if value is None else int(value) for value in values]
        if not all(value is None or isinstance(value, str | int) for value in values):
            raise UsageError(f"{self.name}: column {column!r} is not a label; expected classes, texts or whole numbers")
        names = sorted({str(value) for value in values if value is not None})
        number = {name: place for place, name in enumerate(names)}
        return names, [-1 if value is None else number[str(value)] for value in values]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, size: int) -> Tensor:
        try:
            content = _content(self.rows[index][self.column])
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.label(index)} cannot be read: {error}") from error
        return read_picture(io.BytesIO(content), size, self.label(index))

    def label(self, index: int) -> str:
        return f"row {self.numbers[index]}"

    def fingerprint(self) -> str:
        """A hash of the number of rows and of the pictures of 256 of them, spread over all."""
        digest = hashlib.sha256(f"{len(self)}\0{self.column}\n".encode())
        for place in range(min(FINGERPRINTED_ROWS, len(self))):
            picture = self.rows[place * len(self) // min(FINGERPRINTED_ROWS, len(self))][self.column]
            try:
                content = b"" if picture is None else _content(picture)
            except (OSError, ValueError):
                content = b""
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()


def _content(picture: dict[str, Any] | None) -> bytes:
    """A picture's bytes, from its row or from the file that the row names."""
    if picture is not None and picture["bytes"] is not None:
        return bytes(picture["bytes"])
    if picture is None or picture["path"] is None:
        raise UsageError("the row has no picture")
    file = Path(picture["path"])
    check_regular(file)
    return file.read_bytes()


def _request_of(dataset: str) -> DatasetRequest:
    """A folder's own name may have colons: the longest that is one is taken."""
    colons = [colon.start() for colon in _COLON.finditer(dataset)]
    for end in [len(dataset), *reversed(colons)]:  # an empty name is the folder that one is in
        local = path_of_name(dataset[:end])
        if end and local.is_dir():
            return DatasetRequest(dataset[:end], *_split_and_column(dataset[end + 1 :]), local.resolve())
    name, _, rest = dataset.partition(":")
    return DatasetRequest(name, *_split_and_column(rest), None)


def _split_and_column(text: str) -> tuple[str, str]:
    split, _, column = (_COLON.sub("\0", text, count=1)).partition("\0")
    return split, column


def _column(datasets: Any, rows: Any, request: DatasetRequest) -> str:
    """The column of pictures that a request names, or the only one."""
    columns = [
        column
        for column, feature in rows.features.items()
        # Parquet that another program wrote has no word of pictures, but the same two parts.
        if isinstance(feature, datasets.Image) or (isinstance(feature, dict) and feature.keys() == {"bytes", "path"})
    ]
    if not columns:
        raise UsageError(f"{request.text} has no column of pictures; its columns are {', '.join(rows.features)}")
    if request.column and request.column not in columns:
        raise UsageError(f"{request.text}: no column of pictures has that name; expected {' or '.join(columns)}")
    if not request.column and len(columns) > 1:
        raise UsageError(
            f"{request.text} has {len(columns)} columns of pictures, {' and '.join(columns)}; say which, as in "
            f"hf:{request.name}:{request.split}:{columns[0]}"
        )
    return request.column or columns[0]


def _dataset_rows(datasets: Any, request: DatasetRequest) -> Any:
    """The rows of a request, in one line of error when they cannot be loaded."""
    folder, name = request.local, request.name if request.local is None else str(request.local)
    is_saved = folder is not None and any((folder / file).is_file() for file in ("state.json", "dataset_dict.json"))
    try:
        dataset = (
            datasets.load_from_disk(name) if is_saved else datasets.load_dataset(name, split=request.split or None)
        )
    except Exception as error:  # requests, pyarrow, hub, file system: anything
        reason = one_line(error)[:200]
        if folder is not None:
            raise UsageError(f"hf:{request.name} cannot be opened: {reason}; check the folder and the split") from error
        raise UsageError(
            f"hf:{request.name} could not be downloaded: {reason}; check the id, the split and the network"
        ) from error
    if is_saved and not isinstance(dataset, datasets.DatasetDict):
        dataset = {str(dataset.split or "train"): dataset}  # as load_dataset calls one without a name
        return _part(datasets, dataset, request.split or next(iter(dataset)), request)
    if not isinstance(dataset, datasets.DatasetDict):
        return dataset
    split = request.split or ("train" if "train" in dataset or len(dataset) != 1 else next(iter(dataset)))
    return _part(datasets, dataset, split, request)


def _part(datasets: Any, splits: Any, split: str, request: DatasetRequest) -> Any:
    """A split of those that there are, a slice of one, or a sum of such."""
    if split in splits:
        return splits[split]
    try:
        instruction = datasets.ReadInstruction.from_spec(split)
        parts = instruction.to_absolute({name: len(rows) for name, rows in splits.items()})
    except (ValueError, AssertionError) as error:
        why = "" if "Unknown split" in str(error) else f": {error}"
        raise UsageError(f"hf:{request.name} has no split {split!r}; it has {', '.join(splits)}{why}") from error
    for part in parts:
        if part.from_ >= part.to:
            rows = len(splits[part.splitname])
            raise UsageError(f"hf:{request.name}: a part of {split!r} is empty; {part.splitname} has {rows} rows")
    return datasets.concatenate_datasets([splits[part.splitname].select(range(part.from_, part.to)) for part in parts])
