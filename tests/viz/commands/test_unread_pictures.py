"""A picture that is not taken is named, or counted, wherever pictures are looked through; so is an option."""

import json
import warnings

import pytest
from edited_networks import SPECS, space
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import usae_train as ut
import usae_train.cli
import usae_viz.cli
from usae_train.runtime.warning_kinds import UnreadPicturesWarning

SKIPPED = "skipped: 1.png cannot be read: it is not a picture of a kind that PIL knows\n"


@pytest.fixture(scope="module")
def usae():
    return space({"vit": SPECS["vit"], "conv": SPECS["conv"]})


@pytest.fixture
def folder(usae, tmp_path):
    return ut.save(usae, tmp_path / "usae")


@pytest.fixture
def pictures(tmp_path):
    """Five, of which one cannot be read and one is a mask of another; and a text."""
    room = tmp_path / "pictures"
    room.mkdir()
    for number in (0, 2, 3, 4):
        Image.effect_noise((40, 40), 10 * number + 10).convert("RGB").save(room / f"{number}.png")
    (room / "1.png").write_text("broken")
    (room / "notes.txt").touch()
    Image.new("L", (40, 40)).save(room / "4_mask.png")
    return room


def left_out(pictures):
    return f"2 left out of {pictures}: 1 .txt, 1 _mask.png beside a picture\n"


def run(app, *words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_spectrum_is_of_so_many_pictures_as_were_read(pictures, tmp_path):
    done = run(usae_train.cli.app, "spectrum", pictures, "--size", 16, "-o", tmp_path / "s.safetensors")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == left_out(pictures) + SKIPPED
    assert "the spectrum of 4 pictures" in done.stdout
    with safe_open(tmp_path / "s.safetensors", "pt") as opened:
        assert opened.metadata()["count"] == "4"


def test_neighbours_are_of_those_that_can_be_read(folder, pictures, tmp_path):
    edits = tmp_path / "edits.yaml"
    edits.write_text(
        f"usae: {folder}\nphotographs: [pictures/0.png]\namong: pictures\n"
        "edits: {a: {in: vit, set: [1=2]}, b: {in: conv, set: [1=2]}}\n"
    )
    done = run(usae_viz.cli.app, "intervene", edits, "-o", tmp_path / "out", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == left_out(pictures) + SKIPPED  # once, though both backbones see them
    assert json.loads((tmp_path / "out" / "a" / "0" / "intervene.json").read_text())["among"] == 4


def test_patches_are_of_those_that_can_be_read(folder, pictures, tmp_path):
    words = ("explain", pictures / "0.png", "--usae", folder, "--images", pictures, "-o", tmp_path / "out", "-q")
    done = run(usae_viz.cli.app, *words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == left_out(pictures) + SKIPPED


def test_in_python_a_warning_says_it(usae, pictures):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ut.top_patches(usae, 1, pictures, count=1)
    found = [str(each.message) for each in told if each.category is UnreadPicturesWarning]
    assert found[0] == left_out(pictures).strip()
    assert found[1].startswith("1 of 5 pictures cannot be read; the first: 1.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--usae", "photos", "--top", "9"], "leave out --usae, --top"),
        (["--top", "5"], "leave out --top"),
        (["--in", "vit", "--set", "1=0", "--among", "a", "--labels", "b"], "leave out --in, --set, --among, --labels"),
    ],
)
def test_what_a_file_of_edits_says_itself_is_not_said_beside_it(words, said, tmp_path):
    (tmp_path / "edits.yaml").write_text("photographs: [a.png]\nedits: {off: {in: v, set: [1=0]}}\n")
    done = run(usae_viz.cli.app, "intervene", tmp_path / "edits.yaml", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
