"""Snapshots: kept on disk while a picture is drawn, read back, and made an animation."""

import errno
import os
import tempfile

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

import usae_viz as uv
import usae_viz.export.animation
from usae_viz.export.animation import Frames, Snapshots, write_frames

QUICK = {"views": 2, "size": 32}


@pytest.fixture(scope="module")
def drawn(usae):
    return uv.maximize(usae, uv.Concept(3), steps=5, snapshots=2, **QUICK)


def numbered(pictures, count):
    """Snapshots of so many pictures; picture p in snapshot n is 10 n + p everywhere."""
    snapshots = Snapshots()
    for number in range(count):
        snapshots.append((10.0 * number + torch.arange(pictures))[:, None, None, None].expand(-1, 3, 2, 2))
    return snapshots


def test_frames_are_a_pictures_own_snapshots_and_its_last_canvas():
    last = torch.full((3, 2, 2), -1.0)
    frames = Frames(numbered(3, 5), row=1, count=4, last=last)  # it had settled before the fifth
    assert [frame[0, 0, 0].item() for frame in frames] == [1, 11, 21, 31, -1]
    assert all(frame.shape == (3, 2, 2) and (frame == frame[0, 0, 0]).all() for frame in frames)
    assert frames[-1] is last
    assert frames[-2][2, 1, 1] == 31
    assert [frame[0, 0, 0].item() for frame in frames[1:4:2]] == [11, 31]
    with pytest.raises(IndexError):
        frames[5]


def test_snapshots_take_no_memory_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = numbered(2, 3)
    assert not [value for value in vars(kept).values() if isinstance(value, torch.Tensor | list | np.ndarray)]
    assert os.fstat(kept._file.fileno()).st_size == 3 * 2 * 3 * 2 * 2 * 4
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_room_for_snapshots_is_one_line(usae, tmp_path, monkeypatch):
    class Full:
        def seek(self, place):
            pass

        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(
        ValueError, match=r"snapshots cannot be kept in .*: No space left on device; take fewer, or"
    ) as e:
        uv.maximize(usae, uv.Concept(3), steps=2, snapshots=1, **QUICK)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_an_animation_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupted():
        yield from [torch.zeros(3, 32, 32), torch.ones(3, 32, 32)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / f"film{ending}", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_frames_are_asked_for_one_by_one(tmp_path, monkeypatch):
    """The next one only when the one before has gone to the encoder."""
    told = []
    really = usae_viz.export.animation.imageio.get_writer

    def watched(*words, **how):
        film = really(*words, **how)
        append = film.append_data
        film.append_data = lambda picture: (told.append("written"), append(picture))
        return film

    def frames():
        for number in range(3):
            told.append("asked")
            yield torch.full((3, 32, 32), number / 3)

    monkeypatch.setattr(usae_viz.export.animation.imageio, "get_writer", watched)
    write_frames(tmp_path / "film.mp4", frames())
    assert told == ["asked", "written"] * 3 + ["written"] * 12


def test_snapshots_are_every_so_many_steps_and_the_last_picture(drawn):
    for name, frames in drawn.frames.items():
        assert len(frames) == 4  # steps 1, 3, 5 as they found it, and what came of it
        assert torch.equal(frames[-1], drawn.images[name])
        assert not torch.equal(frames[0], frames[1])


def test_snapshots_become_an_animation_that_stays_on_its_last_frame(drawn, tmp_path):
    folder = drawn.save(tmp_path) / "concept-00003"
    with Image.open(folder / "left.gif") as animation:
        durations = []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            durations.append(animation.info["duration"])
        assert animation.size == (32, 32)
        assert sum(durations) == 80 * (4 + 12)  # a second more of the last frame
    film = imageio.imread(drawn.animate(tmp_path / "left.mp4", "left"), plugin="FFMPEG")
    assert film.shape == (4 + 12, 32, 32, 3)
    last = (drawn.images["left"] * 255).permute(1, 2, 0).numpy()
    first = (drawn.frames["left"][0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(film[-1] - last).mean() < np.abs(film[-1] - first).mean()


def test_odd_sides_can_be_filmed(tmp_path, caplog):
    frames = [torch.full((3, 33, 33), value) for value in (0.0, 0.5, 1.0)]
    for ending in (".gif", ".mp4"):
        write_frames(tmp_path / f"odd{ending}", frames)
        assert len(imageio.imread(tmp_path / f"odd{ending}")) >= 3
    assert caplog.records == []  # imageio said on stderr, for each film, that it had stretched it


def test_what_cannot_be_animated_is_said(usae, drawn, tmp_path):
    plain = uv.maximize(usae, uv.Concept(3), steps=1, **QUICK)
    with pytest.raises(ValueError, match="no snapshots of 'left'; draw with snapshots=N, one of left, right"):
        plain.animate(tmp_path / "left.gif", "left")
    with pytest.raises(ValueError, match="no snapshots of 'middle'"):
        drawn.animate(tmp_path / "middle.gif", "middle")
    with pytest.raises(ValueError, match=r"expected a file that ends in \.gif or \.mp4"):
        drawn.animate(tmp_path / "left.webm", "left")
    assert list(tmp_path.iterdir()) == []
