"""PNGs of a run, which may be a stranger's: decoded as PNG alone, whatever else PIL reads."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import usae_train
import usae_viz
from usae_train.runtime.json_text import json_text
from usae_viz.export.png import check_whole, read_pixels, read_png, rewrite_png, write_png
from usae_viz.runs.run_folder import read_run


@pytest.fixture(params=["BMP", "GIF", "JPEG", "TIFF"])
def disguised(request, tmp_path):
    file = tmp_path / "concept-00001" / "left.png"
    file.parent.mkdir()
    Image.new("RGB", (8, 8)).save(file, request.param)
    return file


@pytest.mark.parametrize("read", [read_png, check_whole, read_pixels, lambda file: rewrite_png(file, file, {})])
def test_a_picture_of_another_kind_that_is_called_png_is_refused(disguised, read):
    with pytest.raises(ValueError, match=r"left\.png (cannot be read as a picture|is cut off or damaged)"):
        read(disguised)


def test_a_run_of_such_pictures_has_none(disguised):
    folder = disguised.parent.parent
    (folder / "run.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(ValueError, match=r"has no pictures in it; the first that cannot be read: .*left\.png"):
        read_run(folder)


def test_pixels_come_back_with_what_is_said_inside(tmp_path):
    canvas = torch.linspace(0, 1, 3 * 8 * 8).view(3, 8, 8)
    write_png(tmp_path / "a.png", canvas, {"code": float("nan"), "picture": "a"})
    assert read_png(tmp_path / "a.png") == {"code": None, "picture": "a"}
    rewrite_png(tmp_path / "a.png", tmp_path / "b.png", {"picture": "b"})
    assert read_png(tmp_path / "b.png")["picture"] == "b"
    assert read_pixels(tmp_path / "a.png").tobytes() == read_pixels(tmp_path / "b.png").tobytes()


def test_no_other_file_opens_pictures():
    """Where a file is opened by PIL it says as what: all kinds, of which some start programs, are taken otherwise."""
    packages = [Path(package.__file__).parent for package in (usae_train, usae_viz)]
    opening = [file for package in packages for file in package.rglob("*.py") if "Image.open(" in file.read_text()]
    assert sorted(file.name for file in opening) == ["decoding.py", "png.py"]
    assert all(
        "formats=" in line for file in opening for line in file.read_text().splitlines() if "Image.open(" in line
    )


def test_json_that_is_written_is_json():
    values = {"a": [1.5, float("inf")], "b": {"c": float("nan"), "d": (True, None, "x")}}
    assert json.loads(json_text(values)) == {"a": [1.5, None], "b": {"c": None, "d": [True, None, "x"]}}
    assert json_text({"a": 0.1}, indent=1) == json.dumps({"a": 0.1}, indent=1)
