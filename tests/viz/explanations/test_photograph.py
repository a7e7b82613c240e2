"""A photograph is the same by its path, as what PIL opened of it, and in a recipe; each has a folder of its own."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from usae_viz.explanations.edit_recipe import EditRecipe, read_edit_recipe
from usae_viz.explanations.photograph import open_photograph


def deep():
    return Image.fromarray(np.linspace(0, 65535, 24 * 20).reshape(20, 24).astype(np.uint16))


def clear():
    picture = Image.new("RGBA", (24, 20), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 12, 20))
    return picture


def turned():
    picture = Image.new("RGB", (24, 20), "white")
    picture.paste((255, 0, 0), (0, 0, 24, 5))
    return picture


@pytest.mark.parametrize("make", [deep, clear, turned])
def test_what_pil_opened_is_what_its_file_is(make, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter of a turn
    file = tmp_path / "a.png"
    make().save(file, **({"exif": exif} if make is turned else {}))
    by_path = open_photograph(file)
    with Image.open(file) as opened:
        by_image = open_photograph(opened)
    assert by_image.name == by_path.name == "a.png"
    assert by_image.whole.tobytes() == by_path.whole.tobytes()
    assert by_image.whole.mode == "RGB"
    assert open_photograph(io.BytesIO(file.read_bytes())).whole.tobytes() == by_path.whole.tobytes()


def test_what_pil_cannot_decode_or_says_no_range_of_is_one_line():
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(content, "PNG")
    with Image.open(io.BytesIO(content.getvalue()[:-200])) as cut, pytest.raises(ValueError, match="cannot be read"):
        open_photograph(cut)
    with pytest.raises(ValueError, match="photograph cannot be read: its pixels are floating-point numbers"):
        open_photograph(Image.new("F", (8, 8)))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.full((3, 8, 8), 200.0), r"a photograph from 200 to 200; expected float 0\.\.1"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"\(3, 8, 8\); expected \(3, H, W\), float 0\.\.1"),
        (torch.zeros(3, 0, 8), "expected"),
    ],
)
def test_a_tensor_is_a_canvas(tensor, said):
    with pytest.raises(ValueError, match=said):
        open_photograph(tensor)


@pytest.mark.parametrize(
    ("photographs", "folders"),
    [
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["x.jpg", "a/x.jpg"], ["x-1", "x-2"]),
        (["x.jpg", "a/x.jpg", "x-2.jpg"], ["x-1", "x-3", "x-2"]),
        (["x.jpg", "a/X.jpg", "X-1.jpg"], ["x-2", "X-3", "X-1"]),
    ],
)
def test_no_two_photographs_share_a_folder(photographs, folders):
    recipe = EditRecipe(photographs=photographs, edits={"off": {"in": "vit", "set": ["1=0"]}})
    places = [below for below, _, _ in recipe.places()]
    assert places == [f"off/{folder}" for folder in folders]
    assert len({place.casefold() for place in places}) == len(places)


def test_edits_whose_folders_would_be_one_are_refused(tmp_path):
    file = tmp_path / "edits.yaml"
    file.write_text("photographs: [a.png]\nedits: {off: {in: v, set: [1=0]}, Off: {in: v, set: [2=0]}}\n")
    with pytest.raises(ValueError, match=r"edits\.yaml:2: .*'Off' and another differ in capital letters alone"):
        read_edit_recipe(str(file))
