"""Which class each picture of a source is of: its folder, a WebDataset's `.cls`, or a dataset's own label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from warnings import warn

from usae_train.images.hub import HubImages
from usae_train.images.sources import FolderImages, ImageSource
from usae_train.images.tar import TarImages
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import UnreadPicturesWarning

NO_CLASS = -1  # of a picture that is of no class


@dataclass(frozen=True)
class ImageClasses:
    """Classes, and each picture's."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]  # of each picture its class, an index into `names`; -1 for none

    @property
    def counts(self) -> list[int]:
        """How many pictures each class has."""
        counted = Counter(self.numbers)
        return [counted[number] for number in range(len(self.names))]


def classes_of(source: ImageSource, column: str | None = None) -> ImageClasses | None:
    """The classes of pictures in `IMAGES/class/...`, or those that a WebDataset's `.cls` or a dataset's column says.

    Args:
        source: the pictures.
        column: of a dataset, which one; by default the only one of classes.

    Returns:
        None where there are no two classes, or several columns of classes of which none is named.

    Raises:
        ValueError: for a column that is not there or is not a label, or a `.cls` that is not.
    """
    if column is not None and not isinstance(source, HubImages):
        raise UsageError(f"{source.name} has no column {column!r}: only a dataset (`hf:NAME`) has columns of labels")
    if isinstance(source, HubImages):
        labels = source.classes(column)
        classes = None if labels is None else ImageClasses(tuple(labels[0]), tuple(labels[1]))
    elif isinstance(source, TarImages):
        classes = _classes_of(source.classes())
    else:
        classes = _of_folders(source) if isinstance(source, FolderImages) else None
    return None if classes is None or len(set(classes.numbers) - {NO_CLASS}) < 2 else classes


def classes_or_none(source: ImageSource, column: str | None) -> ImageClasses | None:
    """The pictures' classes; where nobody asked for them, those that cannot be read are warned of and left out."""
    try:
        return classes_of(source, column)
    except UsageError as error:
        if column is not None:
            raise
        warn(f"{error}; classes are left out", UnreadPicturesWarning, stacklevel=3)
        return None


def need_classes(source: ImageSource, column: str | None = None) -> ImageClasses:
    """The classes of pictures, as `classes_of` finds them.

    Raises:
        ValueError: as there, where several columns are of classes, and where there are no two classes; says what is
            expected.
    """
    classes = classes_of(source, column)
    columns = source.class_columns if isinstance(source, HubImages) and column is None else []
    if len(columns) > 1:
        raise UsageError(
            f"{source.name} has several columns of classes, {' and '.join(columns)}; say which with --label-column"
        )
    if classes is None:
        raise UsageError(
            f"{source.name} has no labels: expected a folder with a folder for each of at least two classes "
            "(IMAGES/class/...), a WebDataset with a .cls beside each picture, or a dataset with a column of classes "
            "(hf:NAME)"
        )
    return classes


@cache
def imagenet_classes(count: int) -> tuple[tuple[str, str], ...] | None:
    """Each class of a classifier of ImageNet's size, or of its larger sets': WordNet's id, and its names.

    None for a classifier of any other size.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple((info.index_to_label_name(index), info.index_to_description(index)) for index in range(count))


def _of_folders(source: FolderImages) -> ImageClasses:
    """Each picture's first folder below the source's; a picture that lies in none is of no class."""
    parts = [source.label(number).split("/") for number in range(len(source))]
    return _classes_of([path[0] if len(path) > 1 else None for path in parts])


def _classes_of(of: Sequence[str | None]) -> ImageClasses:
    names = sorted({name for name in of if name is not None})
    number = {name: place for place, name in enumerate(names)}
    return ImageClasses(tuple(names), tuple(NO_CLASS if name is None else number[name] for name in of))
