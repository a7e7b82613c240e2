"""Where pictures come from: a folder of image files, the demo's scenes, tar shards, a Hugging Face dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self, SupportsIndex, TypeVar, overload

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.images.decoding import read_picture
from usae_train.images.fingerprints import content_of, fingerprint_of
from usae_train.images.folders import pictures_below
from usae_train.images.hub import HubImages
from usae_train.images.indexing import IndexedImages
from usae_train.images.kinds import left_out_in_words, no_pictures
from usae_train.images.places import check_images, is_shards
from usae_train.images.settings import IMAGE_BATCH
from usae_train.images.tar import TarImages
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.sampling import drawn_numbers
from usae_train.scenes.world import SceneParameters, draw_parameters, render_scenes

DEMO_IMAGES = 2000


class ImageSource(Protocol):
    """Numbered pictures."""

    name: str  # what `open_images` takes
    left_out: str  # how many of what are there and not taken, in words; or nothing

    def __len__(self) -> int: ...

    def read(self, index: int, size: int) -> Tensor:
        """One picture as a canvas (3, size, size), float 0..1.

        Raises:
            ValueError: when the picture cannot be read; the message names it.
        """
        ...

    def label(self, index: int) -> str:
        """What to call a picture: its file name or number."""
        ...

    def fingerprint(self) -> str:
        """A hash that changes when the pictures do, by which `same_pictures` compares them."""
        ...


class IndexedSource(ImageSource, Protocol):
    """Numbered pictures that are a sequence as well; see `IndexedImages`."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> IndexedSource: ...

    def __iter__(self) -> Iterator[Tensor]: ...


class SelectableSource(IndexedSource, Protocol):
    """A source that can be limited to some of its pictures."""

    drawn_from: int | None  # how many pictures there were, where it has some of them

    def chosen(self, numbers: Sequence[int]) -> Self:
        """The same source with these pictures alone, numbered from 0 in this order."""
        ...


Drawable = TypeVar("Drawable", bound=SelectableSource)


def take_limit(source: Drawable, limit: int | None) -> Drawable:
    """At most this many pictures, drawn from all, in the source's order; the same ones whenever it is asked."""
    if limit is None or limit >= len(source):
        return source
    subset = source.chosen(drawn_numbers(len(source), limit).tolist())
    subset.drawn_from = len(source)
    return subset


def count_before(source: ImageSource) -> int:
    """How many pictures there were before some were drawn."""
    return getattr(source, "drawn_from", None) or len(source)


class FolderImages(IndexedImages):
    """Every picture file below a folder, in the order of their paths; `pictures_below` says which.

    EXIF rotation is applied, grey becomes RGB, alpha is laid on white, and the centre square is taken.
    """

    drawn_from: int | None = None

    def __init__(self, folder: Path) -> None:
        self.name = name_as_utf8(str(folder.resolve()))
        self.folder = folder
        self.files, left_out = pictures_below(folder)
        self.left_out = left_out_in_words(left_out, name_as_utf8(str(folder)))
        if not self.files:
            raise UsageError(no_pictures(folder, self.left_out))

    def chosen(self, numbers: Sequence[int]) -> FolderImages:
        """Those of its pictures alone."""
        subset = copy(self)
        subset.files = [self.files[number] for number in numbers]
        return subset

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int, size: int) -> Tensor:
        return read_picture(self.files[index], size, self.label(index))

    def label(self, index: int) -> str:
        return name_as_utf8(str(self.files[index].relative_to(self.folder)))

    def fingerprint(self) -> str:
        return fingerprint_of(((self.label(n), content_of(file)) for n, file in enumerate(self.files)), len(self))


class DemoImages(IndexedImages):
    """Scenes of the demo universe, numbered; a scene's pixels depend on its number and the split's seed alone."""

    BLOCK = 64
    left_out = ""
    SPLITS: ClassVar = {"train": 1, "held-out": 2, "test": 3}

    def __init__(self, count: int = DEMO_IMAGES, split: str = "held-out") -> None:
        if split not in self.SPLITS:
            raise UsageError(f"unknown split {split!r} of the demo scenes; expected one of {', '.join(self.SPLITS)}")
        self.name = "demo" if split == "held-out" else f"demo:{split}"
        self.numbers: Sequence[int] = range(count)
        self.split = split
        self._block: tuple[int, SceneParameters] | None = None

    def chosen(self, numbers: Sequence[int]) -> DemoImages:
        """Those of its scenes alone; each stays the scene that it was."""
        subset = copy(self)
        subset.numbers = [self.numbers[number] for number in numbers]
        return subset

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: int, size: int) -> Tensor:
        return self._scene(index, size)[0]

    def read_together(self, numbers: Sequence[int], size: int) -> Tensor:
        """Canvases (scenes, 3, size, size) of several scenes, each the same as alone to the bit.

        Sixteen of 96 px take 2.0 ms each so and 3.3 one by one (one core); of 224 px as long either way.
        """
        return render_scenes(self.parameters(numbers), size, labelled=False).images

    def labels(self, index: int, size: int) -> dict[str, Tensor]:
        """{factor: (size, size) uint8} of one scene."""
        return self._scene(index, size)[1]

    def parameters(self, numbers: Sequence[int]) -> SceneParameters:
        """The decisions behind some of the scenes."""
        scenes = [self._parameters(number) for number in numbers]
        return SceneParameters(**{key: torch.cat([getattr(scene, key) for scene in scenes]) for key in vars(scenes[0])})

    def label(self, index: int) -> str:
        return f"scene {self.numbers[index]}"

    def fingerprint(self) -> str:
        first = list(self.numbers) == list(range(len(self)))
        which = "" if first else f"-{sha256(repr(list(self.numbers)).encode()).hexdigest()}"
        return f"demo-{self.split}-{len(self)}{which}"

    def _scene(self, index: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        scene = render_scenes(self._parameters(index), size)
        return scene.images[0], {factor: value[0] for factor, value in scene.labels.items()}

    def _parameters(self, index: int) -> SceneParameters:
        number, row = divmod(self.numbers[index], self.BLOCK)
        if self._block is None or self._block[0] != number:
            generator = torch.Generator().manual_seed(self.SPLITS[self.split] * 1_000_000_007 + number)
            self._block = (number, draw_parameters(self.BLOCK, generator))
        return self._block[1].select(slice(row, row + 1))


def open_images(images: str | Path, limit: int | None = None) -> IndexedSource:
    """Open `demo`, `demo:train`, `demo:test`, a folder, a WebDataset or a Hugging Face dataset.

    A WebDataset is `shards/{000..009}.tar[:FIELD]`, see `TarImages`; a dataset `hf:NAME[:SPLIT[:COLUMN]]`, see
    `HubImages`. The source's `left_out` says how many of what are there and not taken. It has a length, `source[3]` is
    a picture, (3, 224, 224), float 0..1, and `source[10:20]` a source of some.

    Args:
        images: what to open.
        limit: take at most this many pictures, drawn from all of them, the same ones each time; of the demo's scenes,
            which are drawn one by one, the first.

    Raises:
        ValueError: for a source that is missing, cannot be fetched or has no pictures in it.
    """
    text, folder = check_images(images, limit), path_of_name(images)
    if text == "demo" or text.startswith("demo:"):
        return DemoImages(limit or DEMO_IMAGES, text.partition(":")[2] or "held-out")
    if text.startswith("hf:"):
        return take_limit(HubImages(text.removeprefix("hf:")), limit)
    if is_shards(text):
        return take_limit(TarImages(text), limit)
    return take_limit(FolderImages(folder), limit)


def as_source(images: str | Path | ImageSource, limit: int | None = None) -> ImageSource:
    """Pictures that are named are opened; a source stays as it is.

    Args:
        images: what `open_images` takes, or a source.
        limit: at most this many of what is named.

    Raises:
        UsageError: for what is neither, or a limit of a source that is open already.
    """
    if isinstance(images, str | Path):
        return open_images(images, limit)
    if not all(hasattr(images, name) for name in ("read", "fingerprint", "label", "__len__")):
        kind = type(images).__name__
        raise UsageError(
            f"pictures are of type {kind}; expected a folder, `demo`, or what usae_train.open_images gives"
        )
    if limit is not None:
        raise UsageError(f"limit is for pictures given by name; of an open source take a slice, [:{limit}]")
    return images


def read_batches(
    source: ImageSource, size: int, batch: int, tried: Sequence[int] | None = None, readers: int = 0
) -> Iterator[tuple[list[int], Tensor, list[Failure]]]:
    """Pictures of a source, in order: numbers, canvases (<= batch, 3, size, size), and those that cannot be read.

    Args:
        source: the pictures.
        size: side in pixels.
        batch: pictures that are tried at a time; broken ones are left out.
        tried: their numbers; all by default.
        readers: processes that read; 0 reads in this one.
    """
    numbers = range(len(source)) if tried is None else tried
    groups = [numbers[first : first + batch] for first in range(0, len(numbers), batch)]
    yield from read_groups(source, size, groups, readers)


def read_groups(
    source: ImageSource, size: int, groups: Sequence[Sequence[int]], readers: int = 0
) -> Iterator[tuple[list[int], Tensor, list[Failure]]]:
    """What `read_batches` gives, for batches that are given by the numbers of their pictures."""
    yield from DataLoader(
        _Reading(source, size),
        batch_sampler=map(list, groups),
        num_workers=readers,
        collate_fn=_together,
        generator=torch.Generator(),  # or the global one would be drawn from
    )


def readable_batches(
    source: ImageSource,
    size: int,
    batch: int = IMAGE_BATCH,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
    readers: int = 0,
) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers and canvases of all pictures that can be read, a batch at a time.

    Args:
        source: the pictures.
        size: side in pixels.
        batch: pictures that are tried at a time.
        progress: called after each batch with pictures done, and in all.
        failure: called with each picture that cannot be read, and why.
        readers: processes that read; 0 reads in this one.

    Raises:
        ValueError: at the end, when none could be read.
    """
    read, reasons = 0, list[str]()
    for numbers, canvases, broken in read_batches(source, size, batch, readers=readers):
        if numbers:
            yield numbers, canvases
        for each in broken:
            failure(each.why)
        read += len(numbers)
        reasons += [each.why for each in broken]
        progress(read + len(reasons), len(source))
    if not read:
        raise none_can_be_read(len(source), source, reasons[0])


def none_can_be_read(count: int, source: ImageSource, why: str, what: str = "picture") -> UsageError:
    """The error when none of so many pictures can be read; `why` is the first one's."""
    return UsageError(f"none of the {plural(count, what)} of {source.name} can be read; the first: {why}")


class Failure(NamedTuple):
    """A picture that cannot be read."""

    number: int
    why: str


class _Reading(Dataset[tuple[int, Tensor] | Failure]):
    """A source as torch's loader wants it."""

    def __init__(self, source: ImageSource, size: int) -> None:
        self.source, self.size = source, size

    def __getitem__(self, number: int) -> tuple[int, Tensor] | Failure:
        try:
            return number, self.source.read(number, self.size)
        except ValueError as error:  # a caller's own sources may raise any; of ours it would be a fault
            if isinstance(self.source, IndexedImages) and not isinstance(error, UsageError):
                raise
            return Failure(number, str(error))


def _together(read: Sequence[tuple[int, Tensor] | Failure]) -> tuple[list[int], Tensor, list[Failure]]:
    failures = [each for each in read if isinstance(each, Failure)]
    decoded = [each for each in read if not isinstance(each, Failure)]
    canvases = torch.stack([canvas for _, canvas in decoded]) if decoded else torch.empty(0, 3, 0, 0)
    return [number for number, _ in decoded], canvases, failures
