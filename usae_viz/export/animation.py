"""Snapshots of pictures while they are drawn, kept on disk: a long run needs no more memory; animations of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import imageio.v2 as imageio
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.images.arrays import to_uint8
from usae_train.runtime.errors import UsageError

FRAME_SECONDS = 0.08


class Snapshots:
    """Canvases as they come, float32, in a temporary file without a name, which is gone with the process.

    A picture of 256 px takes 0.8 MB per snapshot, in the folder that TMPDIR names. What has frames of it has an open
    file; pickled, they are in memory until another process has read them.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._shape: tuple[int, ...] = ()
        with _writing_snapshots():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it is open as long as there are frames of it)

    def append(self, canvas: Tensor) -> None:
        """Add a snapshot of all pictures (pictures, 3, H, W).

        Raises:
            ValueError: when it cannot be written; says where to.
        """
        numbers = canvas.detach().cpu().float().contiguous().numpy()
        self._shape = numbers.shape
        with _writing_snapshots():
            self._file.seek(self.count * numbers.nbytes)
            self._file.write(numbers.tobytes())
            self._file.flush()
        self.count += 1

    def __getstate__(self) -> dict[str, Any]:
        self._file.seek(0)
        return {"count": self.count, "_shape": self._shape, "content": self._file.read()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("content")
        self.__init__()  # type: ignore[misc]  # a file of its own
        vars(self).update(state)
        with _writing_snapshots():
            self._file.write(content)
            self._file.flush()

    def canvas(self, number: int, row: int) -> Tensor:
        """(3, H, W): one picture in one snapshot."""
        frame = np.empty(self._shape[1:], np.float32)
        self._file.seek((number * self._shape[0] + row) * frame.nbytes)
        self._file.readinto(frame.data)
        return torch.from_numpy(frame)


@contextmanager
def _writing_snapshots() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"snapshots cannot be kept in {os.environ.get('TMPDIR') or 'the temporary folder'}: "
            f"{error.strerror or error}; take fewer, or name a larger folder with TMPDIR"
        ) from error


class Frames(Sequence[Tensor]):
    """Canvases (3, H, W) of one picture, read when they are asked for: its snapshots, and what came of it.

    Args:
        snapshots: of the pictures that were drawn at once.
        row: the picture's.
        count: how many of the snapshots are its own; others may have been drawn further after it had settled.
        last: (3, H, W), the finished picture.
    """

    def __init__(self, snapshots: Snapshots, row: int, count: int, last: Tensor) -> None:
        self._snapshots, self._row, self._count, self._last = snapshots, row, count, last

    def __len__(self) -> int:
        return self._count + 1

    @overload
    def __getitem__(self, number: int) -> Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> list[Tensor]: ...
    def __getitem__(self, number: int | slice) -> Tensor | list[Tensor]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        place = range(len(self))[number]  # counts from the end, and knows what is out of range
        return self._last if place == self._count else self._snapshots.canvas(place, self._row)


def write_frames(file: Path, frames: Iterable[Tensor]) -> None:
    """Write canvases (3, H, W) as an animation, .gif or .mp4, that stays on its last frame for a second.

    They are asked for one by one; of a GIF Pillow keeps a byte per pixel until the end.

    Raises:
        ValueError: for another ending.
    """
    if file.suffix not in (".gif", ".mp4"):
        raise UsageError(f"{file}: expected a file that ends in .gif or .mp4")
    pictures = _in_bytes(frames)
    with atomic_path(file) as temporary:
        if file.suffix == ".gif":
            moving = map(Image.fromarray, pictures)
            options: dict[str, Any] = {"append_images": moving, "duration": 1000 * FRAME_SECONDS, "loop": 0}
            next(moving).save(temporary, "GIF", save_all=True, **options)
            return
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:  # ffmpeg wants a name that says the format
            encoded = Path(folder) / "film.mp4"
            with imageio.get_writer(
                encoded, format="FFMPEG", mode="I", fps=1 / FRAME_SECONDS, macro_block_size=2
            ) as film:
                for picture in pictures:
                    film.append_data(_even(picture))  # type: ignore[attr-defined]
            encoded.replace(temporary)


def _even(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) with sides of a whole number of the film's blocks: an odd one shows its last row or column twice."""
    height, width, _ = picture.shape
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _in_bytes(frames: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """Canvases (3, H, W) as (H, W, 3), uint8; the last one again and again, for a second."""
    picture = None
    for frame in frames:
        picture = to_uint8(frame).permute(1, 2, 0).numpy()
        yield picture
    if picture is not None:
        yield from [picture] * round(1 / FRAME_SECONDS)
