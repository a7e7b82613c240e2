"""NumPy arrays where pictures and tokens go."""

import numpy as np
import pytest
import torch

from usae_train.images.arrays import canvas_of, canvases_of
from usae_train.runtime.arrays import floats_of

LEVELS = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
CANVAS = torch.from_numpy(LEVELS).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    "picture",
    [
        LEVELS,
        LEVELS[:, ::-1][:, ::-1],  # of negative strides on the way
        (LEVELS / 255).astype(np.float32),
        LEVELS / 255,  # float64
        (LEVELS / 255).transpose(2, 0, 1),
        np.asfortranarray(LEVELS / 255),
        (LEVELS / 255).astype(">f4"),
    ],
)
def test_arrays_of_every_form_are_the_same_canvas(picture):
    found = canvas_of(picture)
    assert found.dtype == torch.float32
    assert torch.equal(found, CANVAS)
    assert torch.equal(canvases_of(np.stack([picture, picture])), torch.stack([CANVAS, CANVAS]))


def test_half_precision_is_widened_for_torch_resizes_none():
    found = canvas_of((LEVELS / 255).astype(np.float16))
    assert found.dtype == torch.float32
    assert torch.allclose(found, CANVAS, atol=1e-4)


def test_a_tensor_stays_itself():
    assert canvas_of(CANVAS) is CANVAS
    assert canvases_of(CANVAS) is CANVAS
    assert floats_of(CANVAS, "tokens") is CANVAS


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            np.zeros((3, 5, 3)),
            r"is float64 of shape \(3, 5, 3\), which is \(3, H, W\) as well as \(H, W, 3\)",
        ),
        (np.zeros((3, 5, 4), np.uint8), r"a picture is uint8 of shape \(3, 5, 4\); expected uint8 \(H, W, 3\), as PIL"),
        (np.zeros((5, 4)), r"float64 of shape \(5, 4\); expected"),
        (np.zeros((5, 4, 4)), r"float64 of shape \(5, 4, 4\); expected"),
        (np.zeros((5, 4, 3), np.int64), "a picture is int64 of shape"),
        (np.full((4, 5, 3), 200.0), "a picture has numbers from 200 to 200; expected 0..1: divide levels by 255"),
        (np.linspace(-2, 2, 60).reshape(4, 5, 3), "a picture has numbers from -2 to 2; expected 0..1"),
        (np.full((4, 5, 3), np.nan, np.float32), "a picture has numbers from nan to nan; expected 0..1"),
        ([[0.5]], "a picture is of type list; expected"),
    ],
)
def test_what_is_no_picture_or_could_be_two_is_refused_in_a_line(picture, message):
    with pytest.raises(ValueError, match=message) as refusal:
        canvas_of(picture)
    assert "\n" not in str(refusal.value)


def test_uint8_of_three_rows_is_no_doubt():  # whose last dimension says what it is
    assert canvas_of(np.zeros((3, 5, 3), np.uint8)).shape == (3, 3, 5)


def test_an_array_that_cannot_be_written_is_copied():
    numbers = np.ones((2, 3), np.float32)
    numbers.flags.writeable = False
    found = floats_of(numbers, "tokens")
    found += 1
    assert numbers.max() == 1


@pytest.mark.parametrize("numbers", [np.ones(3, np.int32), np.array(["a"]), [1.0]])
def test_what_is_not_of_floats_is_refused(numbers):
    with pytest.raises(ValueError, match=r"^vit: tokens of (int32|<U1|type list); expected"):
        floats_of(numbers, "vit: tokens")
