"""An extraction that is stopped within a shard resumes from there, and the store comes out the same to the bit."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from stores import SPECS, YAML, make_pictures, write

from usae_train.images.sources import open_images
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.signals import Stopped
from usae_train.tokens import extract as extracting
from usae_train.tokens.extract import plan_extraction
from usae_train.tokens.pieces import Pieces
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import read_record


@pytest.fixture
def pictures(tmp_path):
    """Eleven pictures, of which number 4 is broken; a shard has 4, a batch 2."""
    return make_pictures(tmp_path / "pictures")


@pytest.fixture
def whole(pictures, tmp_path):
    return write(pictures, tmp_path / "whole")


def same(one, other):
    assert [shard.sha256 for shard in one.record.shards] == [shard.sha256 for shard in other.record.shards]
    assert one.failures() == other.failures()
    assert sorted(f.name for f in one.folder.iterdir()) == sorted(f.name for f in other.folder.iterdir())


def tried_by(monkeypatch):
    """The numbers of the pictures that are read from now on."""
    read, numbers = extracting.read_groups, []

    def noted(source, size, groups, workers):
        numbers.extend(number for group in groups for number in group)
        return read(source, size, groups, workers)

    monkeypatch.setattr(extracting, "read_groups", noted)
    return numbers


@pytest.mark.parametrize(("stop_at", "kept"), [(2, 6), (4, 6), (6, 10)])
def test_a_stop_keeps_all_that_was_seen(pictures, tmp_path, whole, monkeypatch, stop_at, kept):
    """Told within a batch, it ends after the next one; one that ends a shard is followed by another."""

    def progress(done, total):  # noqa: ARG001
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"stopped; \d+ of 11 pictures are kept in .*store; run the same") as seen:
        write(pictures, tmp_path / "store", progress=progress)
    assert seen.value.status == 143
    assert f"stopped; {kept} of" in str(seen.value)
    numbers = tried_by(monkeypatch)
    same(write(pictures, tmp_path / "store"), whole)
    assert numbers == list(range(kept, 11))


def test_a_kill_loses_what_came_after_the_last_piece_alone(pictures, tmp_path, whole, monkeypatch):
    class Killed(BaseException):
        pass

    def progress(done, total):  # noqa: ARG001
        if done == 7:  # a batch of the second shard is known, with its broken picture
            raise Killed

    with pytest.raises(Killed):
        write(pictures, tmp_path / "store", progress=lambda done, total: progress(done + 1, total), piece_seconds=0)
    (tmp_path / "store" / ".piece-000000008-000000010.safetensors.999999999.part").write_bytes(b"cut")
    pieces = [range(0, 2), range(4, 6)]
    assert Pieces(tmp_path / "store")._ranges()[-1] == pieces[-1]
    numbers = tried_by(monkeypatch)
    same(write(pictures, tmp_path / "store"), whole)
    assert numbers[-5:] == [6, 7, 8, 9, 10]
    assert 4 not in numbers or numbers[0] == 2


def test_a_damaged_piece_is_seen_again(pictures, tmp_path, whole):
    def progress(done, total):  # noqa: ARG001
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        write(pictures, tmp_path / "store", progress=progress, piece_seconds=0)
    for piece in (tmp_path / "store").glob("piece-*"):
        piece.write_bytes(piece.read_bytes()[:40])
    same(write(pictures, tmp_path / "store"), whole)


def test_the_command_says_what_is_kept_when_it_is_stopped(pictures, tmp_path):
    (tmp_path / "specs.yaml").write_text(YAML)
    for number in range(11, 400):
        (pictures / f"{number}.png").symlink_to(pictures / "00.png")
    words = ["extract", pictures, "--backbones", tmp_path / "specs.yaml", "-o", tmp_path / "store", "--image-batch", 1]
    process = subprocess.Popen(
        [sys.executable, "-c", "from usae_train.cli import main; main()", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "store" / "store.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    if process.returncode == 143 and "kept" in err:
        assert err.count("\n") == 1
        assert f"of 400 pictures are kept in {tmp_path / 'store'}" in err
        assert not read_record(tmp_path / "store").complete
    else:  # it was told before it listened, or was done already
        assert process.returncode in (-signal.SIGTERM, 0)


@dataclass(frozen=True)
class Threads(DistributedContext):
    """Two processes that are threads of one."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=20))
    table: list = field(default_factory=lambda: [None, None])

    def gather(self, value):
        self.table[self.rank] = value
        self.barrier.wait()
        found = copy.deepcopy(self.table)
        self.barrier.wait()
        return found

    def from_main(self, value):
        return self.gather(value)[0]


@pytest.mark.parametrize(("stop_at", "kept"), [(4, 8), (10, 11)])
def test_two_processes_stop_together_when_one_is_told(pictures, tmp_path, whole, monkeypatch, stop_at, kept):
    """The other one's shard is whole meanwhile: it is kept as well, though it is not the first of the round."""
    first = Threads(0, 2)
    other = Threads(1, 2, 1.0, first.barrier, first.table)

    def progress(done, total):  # noqa: ARG001
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    source = open_images(pictures)
    record, _, backbones = plan_extraction(source, SPECS)  # once: two threads would draw weights from one generator
    how = ExtractSettings(image_batch=2, max_broken=0.2)
    together = {"settings": how, "images_per_shard": 4, "backbones": backbones}
    with ThreadPoolExecutor(1) as beside:
        second = beside.submit(extracting.extract, source, record, tmp_path / "store", ranks=other, **together)
        with pytest.raises(Stopped, match=f"stopped; {kept} of 11 pictures are kept") as seen:
            extracting.extract(source, record, tmp_path / "store", ranks=first, progress=progress, **together)
        assert isinstance(second.exception(), Stopped)
    assert seen.value.status == 143
    numbers = tried_by(monkeypatch)
    same(write(pictures, tmp_path / "store"), whole)
    assert len(numbers) == 11 - kept
