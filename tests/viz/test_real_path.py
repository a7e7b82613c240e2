"""Real networks and photographs, from a USAE to pictures, a page and a study, as the command line makes them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli
import usae_viz.verification.concepts
import usae_viz.verification.noise
from usae_viz.export.png import read_png
from usae_viz.runs.places import EXPLORER_FOLDER
from usae_viz.verification.held_out import VIEWS, held_out_codes

pytestmark = pytest.mark.real

BACKBONES = ["dino", "lite0", "lite2"]
CONCEPTS, PHOTOGRAPHS, SIDE = 32, 24, 224
DRAWN = {
    "per-model": {name: [name] for name in BACKBONES},
    "shared": {"shared": BACKBONES},
    "coupled": {name: [name] for name in BACKBONES},
}


def run(app, *words: object) -> str:
    """What a command says on stdout; it must succeed."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def finite(text: str) -> Any:
    """What JSON holds; no figure of it may be NaN or infinite."""

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} in {text[:200]}")

    return json.loads(text, parse_constant=refused)


def of_script(file: Path) -> Any:
    """What a page's script hands to a function."""
    text = file.read_text()
    return finite(text[text.index("(") + 1 : text.rindex(")")])


def few_views(usae, backbone, canvases, seed, views=VIEWS, *rest):
    """`held_out_codes` of two views at most: of eight, all pictures of these tests take 6 s more."""
    return held_out_codes(usae, backbone, canvases, seed, min(views, 2), *rest)


@pytest.fixture(scope="module")
def space(real, tmp_path_factory):
    """A folder with a USAE over all three networks, of a few photographs."""
    out = tmp_path_factory.mktemp("real") / "space"
    size = ("--n-concepts", CONCEPTS, "-k", 4, "--steps", 60, "--batch", 512, "--limit", PHOTOGRAPHS)
    words = (real / "photos" / "train", "--backbones", real / "specs.yaml", *size, "-o", out)
    assert "dead: dino " in run(usae_train.cli.app, "fit", *words)
    return out


@pytest.fixture(scope="module")
def listed(space):
    return finite(run(usae_viz.cli.app, "concepts", "--usae", space, "--json"))


@pytest.fixture(scope="module")
def runs(space, listed, tmp_path_factory):
    """{mode: its run folder and what the command printed}, each of the most universal concept."""
    place, found = tmp_path_factory.mktemp("runs"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usae_viz.verification.noise, "NOISE_PICTURES", 1)  # 32 of them through three networks take 5 s
        patch.setattr(usae_viz.verification.concepts, "held_out_codes", few_views)
        for mode in DRAWN:
            words = ("--usae", space, "--mode", mode, "--steps", 2, "--views", 1, "--size", SIDE, "--json")
            told = run(usae_viz.cli.app, "maximize", "-c", listed[0]["concept"], *words, "-o", place / mode)
            found[mode] = (place / mode, finite(told))
    return found


def test_concepts_are_listed_with_their_figures_in_every_network(listed):
    assert sorted(row["concept"] for row in listed) == list(range(CONCEPTS))
    universality = [row["universality"] for row in listed]
    assert universality == sorted(universality, reverse=True)
    assert universality[0] > 0.2
    for row in listed:
        assert len(row["firing_share"]) == len(BACKBONES)
        assert all(0 <= share <= 1 for share in row["firing_share"])
    assert min(listed[0]["firing_share"]) > 0


@pytest.mark.parametrize("mode", DRAWN)
def test_a_concept_is_drawn_and_scored_through_every_network(runs, listed, mode):
    out, told = runs[mode]
    (scored,) = told["concepts"]
    concept = listed[0]["concept"]
    assert (scored["concept"], told["out"]) == (concept, str(out))
    assert {image: own["drawn_for"] for image, own in scored["images"].items()} == DRAWN[mode]
    for own in scored["images"].values():
        assert list(own["backbones"]) == BACKBONES
        for score in own["backbones"].values():
            assert 1 <= score["rank"] <= CONCEPTS
            assert 0 <= score["share"] <= 1
            assert 0 <= score["percentile"] <= 100
            assert all(math.isfinite(score[figure]) for figure in ("code", "others", "noise"))
    folder = out / f"concept-{concept:05d}"
    assert {file.name for file in folder.iterdir()} == {*(f"{n}.png" for n in DRAWN[mode]), "scores.json", "sheet.png"}
    assert finite((folder / "scores.json").read_text())["images"] == scored["images"]
    assert finite((out / "run.json").read_text())["runs"][0]["mode"] == mode
    for name in DRAWN[mode]:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size == (SIDE, SIDE)
            assert max(high - low for low, high in picture.getextrema()) > 50
        assert read_png(folder / f"{name}.png")["scores"] == scored["images"][name]
    with Image.open(folder / "sheet.png") as sheet:  # no place for top-activating patches would be 14 px high
        assert sheet.height > 2 * SIDE


def test_the_explorer_shows_every_run_and_natural_patches_of_every_network(runs, listed, tmp_path):
    folders, concept = [out for out, _ in runs.values()], listed[0]["concept"]
    said = run(usae_viz.cli.app, "explore", *folders, "--patches", 1, "-o", tmp_path / "page")
    assert "1 card," in said
    assert (tmp_path / "page" / "index.html").is_file()
    data = of_script(tmp_path / "page" / EXPLORER_FOLDER / "data.js")
    assert (data["backbones"], data["missing"]) == (BACKBONES, [])
    assert [each["name"] for each in data["runs"]] == list(DRAWN)
    (card,) = data["cards"]
    drawn = {data["runs"][own["run"]]["name"]: len(own["pictures"]) for own in card["run_pictures"]}
    assert drawn == {mode: len(names) for mode, names in DRAWN.items()}
    with Image.open(tmp_path / "page" / EXPLORER_FOLDER / "patches" / f"{concept}.webp") as strip:
        assert strip.size == (64, len(BACKBONES) * 64)
        rows = [strip.convert("L").crop((0, 64 * row, 64, 64 * row + 64)) for row in range(len(BACKBONES))]
    assert all(low < high for low, high in (row.getextrema() for row in rows))


def test_a_study_asks_about_every_picture(runs, listed, tmp_path):
    said = run(usae_viz.cli.app, "rate", runs["per-model"][0], "--choices", 2, "-o", tmp_path / "study")
    assert "4 questions" in said  # a picture a network, and a control
    key = finite((tmp_path / "study" / "key.json").read_text())
    assert {trial["condition"] for trial in key["trials"]} == {"natural", *(f"per-model {name}" for name in BACKBONES)}
    assert {trial["concept"] for trial in key["trials"]} == {listed[0]["concept"]}
    for number, trial in enumerate(key["trials"], 1):
        assert len(trial["choices"]) == 2
        assert all(choice["number"] < PHOTOGRAPHS for choice in trial["choices"])
        shown = [tmp_path / "study" / "study" / "pictures" / f"{number}-{place}.webp" for place in range(3)]
        assert all(file.is_file() for file in shown)
