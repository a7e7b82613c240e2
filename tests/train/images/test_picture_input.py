"""A picture given in Python is the same one whatever it is given as."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from usae_train.images.picture_input import open_picture, read_named, square_canvas


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """24 x 16 px: red left of blue, in thirds."""
    picture = Image.new("RGB", (24, 16), (255, 0, 0))
    picture.paste((0, 0, 255), (8, 0, 24, 16))
    picture.save(tmp_path / "a.png")
    return tmp_path / "a.png"


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))


KINDS = {
    "a path": lambda file: file,
    "a name": str,
    "an open file": lambda file: file.open("rb"),
    "bytes": lambda file: io.BytesIO(file.read_bytes()),
    "a PIL image": Image.open,
    "a palette": lambda file: Image.open(file).convert("P"),
    "levels": pixels,
    "floats, channels last": lambda file: pixels(file).astype(np.float64) / 255,
    "floats, channels first": lambda file: pixels(file).transpose(2, 0, 1).astype(np.float32) / 255,
    "a tensor": lambda file: torch.from_numpy(pixels(file).copy()).permute(2, 0, 1) / 255,
}


@pytest.mark.parametrize("kind", KINDS)
def test_its_centre_square_is_the_same(kind: str, file: Path):
    canvas = square_canvas(open_picture(KINDS[kind](file)), 16)
    assert isinstance(canvas, Tensor)
    assert canvas.shape == (3, 16, 16)
    assert torch.equal(canvas[0], (torch.arange(16) < 4).float().expand(16, 16))  # 4 px on either side are cut off
    assert torch.equal(canvas[2], 1 - canvas[0])


def test_it_is_resized_as_a_whole(file: Path):
    for kind in ("a path", "levels"):
        canvas = square_canvas(open_picture(KINDS[kind](file)), 64)
        assert torch.allclose(canvas.mean((1, 2)), torch.tensor([0.25, 0, 0.75]), atol=0.02)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (7, r"a picture of type int; expected a picture's file, a PIL image, a NumPy array, or a tensor \(3, H, W\)"),
        ([0.5], "a picture of type list; expected"),
        (None, "a picture of type NoneType; expected"),
        ("nowhere.png", r"no picture 'nowhere\.png': there is no such file"),
        (Path("."), r"\. cannot be read: it is a folder; expected a file"),
        (io.BytesIO(b"none"), "the picture cannot be read: it is not a picture of a kind that PIL knows"),
        (Image.new("F", (8, 8)), "picture cannot be read: its pixels are floating-point numbers"),
        (torch.full((3, 4, 4), 2.0), r"a picture from 2 to 2; expected float 0\.\.1"),
        (np.zeros((4, 4)), r"a picture is float64 of shape \(4, 4\); expected uint8"),
    ],
)
def test_what_is_no_picture_is_one_line(wrong: object, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        open_picture(wrong)
    assert "\n" not in str(caught.value)


def test_a_picture_is_named_as_what_it_is_to_be():
    with pytest.raises(ValueError, match=r"no photograph 'nowhere\.png'"):
        read_named("nowhere.png", "photograph")
