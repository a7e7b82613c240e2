"""Sources of pictures as sequences."""

import pytest
import torch

import usae_train as ut
from usae_train.images.indexing import INDEXED_SIZE
from usae_train.images.sources import DemoImages, read_batches


@pytest.fixture(params=["folder", "demo"])
def source(request, picture_folder):
    """Six pictures."""
    return ut.open_images(picture_folder if request.param == "folder" else "demo", limit=6)


def test_a_number_is_a_picture(source):
    assert source[3].shape == (3, INDEXED_SIZE, INDEXED_SIZE)
    assert torch.equal(source[3], source.read(3, INDEXED_SIZE))
    assert torch.equal(source[-1], source.read(5, INDEXED_SIZE))
    assert torch.equal(source[torch.tensor(2)], source.read(2, INDEXED_SIZE))
    for wrong in (6, -7):
        with pytest.raises(IndexError, match=rf"no picture {wrong}: there are 6, numbered from 0"):
            source[wrong]


def test_a_slice_is_a_source_of_some(source):
    some = source[4:1:-2]
    assert len(some) == 2
    assert [some.label(n) for n in range(2)] == [source.label(n) for n in (4, 2)]
    assert torch.equal(some.read(1, 32), source.read(2, 32))
    assert torch.equal(some[0:1].read(0, 32), source.read(4, 32))
    assert len({some.fingerprint(), source.fingerprint(), source[1:3].fingerprint()}) == 3
    assert source[:].fingerprint() == source.fingerprint()
    with pytest.raises(ValueError, match="no pictures in the slice 6:9 of 6"):
        source[6:9]


def test_pictures_come_one_after_the_other(source):
    assert [torch.equal(own, source.read(n, INDEXED_SIZE)) for n, own in enumerate(source[:2])] == [True, True]


def test_the_demos_first_scenes_have_the_fingerprint_that_they_had():
    assert ut.open_images("demo", limit=6).fingerprint() == "demo-held-out-6"
    assert ut.open_images("demo:test")[:6].fingerprint() == "demo-test-6"


class Own:
    """A source of a caller's own: of its two pictures one cannot be read, as `ImageSource` has it."""

    name, left_out = "own", ""

    def __len__(self):
        return 2

    def read(self, index, size):
        if index:
            raise ValueError("number 1 is broken")
        return torch.zeros(3, size, size)


def test_a_picture_that_a_source_of_ones_own_cannot_read_is_passed_over():
    ((numbers, canvases, failures),) = read_batches(Own(), 8, 2)
    assert (numbers, canvases.shape) == ([0], (1, 3, 8, 8))
    assert [(each.number, each.why) for each in failures] == [(1, "number 1 is broken")]


def test_a_fault_in_a_source_of_ours_is_no_picture_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(DemoImages, "read", lambda self, index, size: int("a fault"))
    with pytest.raises(ValueError, match="invalid literal"):
        list(read_batches(DemoImages(2), 8, 2))
