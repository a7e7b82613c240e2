"""A backbone's weights are gone, another's, or no weights at all: one line names it, and nothing is written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_recipes import run
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import usae_train as ut
import usae_train.cli
from usae_train.backbones.timm_models import create_model


@pytest.fixture(scope="module")
def made(usae, tmp_path_factory):
    """Pictures, specs.yaml, and a USAE over two tiny networks whose weights lie in files of its folder."""
    place = tmp_path_factory.mktemp("made")
    (place / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 48, 48, 3), dtype=np.uint8)
    for number, own in enumerate(pixels):
        Image.fromarray(own).save(place / "pictures" / f"{number}.png")
    specs = {}
    for name, spec in usae.specs.items():
        save_file(dict(create_model(name, spec).state_dict()), place / f"{name}.safetensors")
        specs[name] = spec.model_copy(update={"weights": str(place / f"{name}.safetensors")})
    space = ut.fit(place / "pictures", backbones=specs, n_concepts=8, k=2, steps=2, batch=16)
    ut.save(space, place / "space")
    lines = [
        f"{name}:\n  model: {s.model}\n  weights: {name}.safetensors\n  input_size: {s.input_size}\n"
        f"  options: {dict(s.options)}\n"
        for name, s in specs.items()
    ]
    (place / "specs.yaml").write_text("".join(lines).replace("'", "").replace("False", "false"))
    return place


@pytest.fixture
def room(made, tmp_path, monkeypatch):
    """A copy that a test may spoil, and the folder that commands are given in."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def spoil(file: Path, how: str) -> None:
    """Make a weight file wrong."""
    if how == "gone":
        file.unlink()
    elif how == "a picture":
        Image.new("RGB", (8, 8)).save(file, "JPEG")
    else:
        save_file({name: 1.5 * tensor for name, tensor in load_file(file).items()}, file)


def refused(done, words: str) -> None:
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: right")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [file.name for file in Path.cwd().iterdir()] == ["made"]


SAID = {
    "gone": "right: no weight file at ",
    "a picture": "right.safetensors is a picture; expected a .safetensors or .pth file",
    "changed": "right is not the backbone that this USAE was trained with",
}


@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("words", [["maximize", "-c", "3", "--steps", "2", "--usae"], ["explore"]])
def test_a_usae_is_shown_with_its_own_weights_alone(room, how, words):
    (room / "space" / "maps.safetensors").unlink()
    spoil(room / "space" / "backbones" / "right.safetensors", how)
    refused(run(*words, room / "space", "-o", "out"), SAID[how])


def test_explore_asks_no_network_for_what_its_own_kept_maps_say(room):
    spoil(room / "space" / "backbones" / "right.safetensors", "gone")
    done = run("explore", room / "space", "-o", "out")
    assert done.exit_code == 0, done.output
    assert (Path("out") / "index.html").is_file()


@pytest.mark.parametrize("how", ["gone", "a picture"])
@pytest.mark.parametrize("command", ["fit", "extract"])
def test_training_needs_the_weights_of_every_backbone(room, how, command):
    spoil(room / "right.safetensors", how)
    words = [command, room / "pictures", "--backbones", room / "specs.yaml", "-o", "out"]
    refused(CliRunner().invoke(usae_train.cli.app, [str(word) for word in words]), SAID[how])
