import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from usae_viz.cli import app
from usae_viz.export.png import read_png, to_picture

QUICK = ("--steps", "1", "--views", "1", "--size", "32")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nine pictures of a reader's own, each of one loud colour: what patches are cut from can be seen."""
    place = tmp_path_factory.mktemp("own")
    generator = torch.Generator().manual_seed(3)
    for number in range(9):
        colour = torch.rand(3, 1, 1, generator=generator)
        to_picture(colour.expand(3, 48, 48)).save(place / f"{number}.png")
    return place


def colours(file):
    with Image.open(file) as opened:
        return {colour for _, colour in opened.convert("RGB").getcolors(1 << 24)}


def of(pictures):
    return {next(iter(colours(file))) for file in pictures.iterdir()}


def test_a_sheet_has_patches_of_the_readers_pictures_or_says_how_to_have_them(folder, pictures, tmp_path):
    bare = run("maximize", "-c", "3", "--usae", folder, *QUICK, "-o", tmp_path / "bare")
    own = run("maximize", "-c", "3", "--usae", folder, *QUICK, "-o", tmp_path / "own", "--images", pictures)
    assert (bare.exit_code, own.exit_code) == (0, 0), own.output
    assert not colours(tmp_path / "bare/concept-00003/sheet.png") & of(pictures)
    assert colours(tmp_path / "own/concept-00003/sheet.png") & of(pictures)


def test_a_run_that_is_there_gets_a_new_sheet_and_no_new_pictures(folder, pictures, tmp_path, drawings):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\nsettings: {{steps: 1, views: 1, size: 32}}\n")
    sheet = tmp_path / "run/concept-00003/sheet.png"
    assert run("render", recipe, "-o", tmp_path / "run").exit_code == 0
    assert read_png(sheet)["images"] is None
    drawings.clear()
    assert run("render", recipe, "-o", tmp_path / "run", "--images", pictures).exit_code == 0
    assert not drawings
    assert read_png(sheet)["images"] is not None
    assert colours(sheet) & of(pictures)


def test_the_explorer_and_a_study_are_of_the_readers_pictures(folder, pictures, tmp_path):
    assert run("maximize", "-c", "3,5", "--usae", folder, *QUICK, "-o", tmp_path / "run").exit_code == 0
    bare = run("explore", tmp_path / "run")
    assert bare.exit_code == 0, bare.output
    assert "--images takes your own" in bare.output
    assert not (tmp_path / "run/explorer/natural").exists() or not list((tmp_path / "run/explorer/natural").iterdir())
    done = run("explore", tmp_path / "run", "--images", pictures, "-q")
    assert done.exit_code == 0, done.output
    natural = {label for file in (tmp_path / "run").rglob("details/*.js") for label in _labels(file)}
    assert natural <= {file.name for file in pictures.iterdir()}
    assert natural
    refused = run("rate", tmp_path / "run", "-o", tmp_path / "study")
    assert refused.exit_code == 1
    assert "a study needs top-activating patches" in refused.output
    asked = run("rate", tmp_path / "run", "-o", tmp_path / "study", "--images", pictures, "--choices", "2", "-q")
    assert asked.exit_code == 0, asked.output
    trials = json.loads((tmp_path / "study/key.json").read_text())["trials"]
    assert all(choice["number"] < 9 for trial in trials for choice in trial["choices"])


def _labels(file):
    detail = json.loads(file.read_text().partition(",")[2].rpartition(")")[0])
    return [entry["label"] for row in detail["natural"] for entry in row]


def test_pictures_that_are_not_there_are_one_line_and_nothing_is_drawn(folder, tmp_path):
    done = run("maximize", "-c", "3", "--usae", folder, *QUICK, "-o", tmp_path / "run", "--images", tmp_path / "no")
    assert done.exit_code == 1
    assert "no folder" in done.output
    assert not (tmp_path / "run").exists()
