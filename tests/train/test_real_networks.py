"""Real networks and photographs: what they say is their own, and the way from photographs to a report."""

import json
from pathlib import Path

import pytest
import timm
import torch
from command_line import run
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.functional import center_crop, to_tensor

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.model.checkpoint import load
from usae_train.model.spec_files import read_specs

pytestmark = pytest.mark.real

# Known by looking at them: a bee on an aster, a ladybird on a blade of grass, a squirrel on a stump
KNOWN = {
    "photos/held/opencv_european-honey-bee_6691.jpg": 309,
    "photos/train/wall_LadyBird_db72.jpg": 301,
    "photos/train/opencv_squirrel_cls_0aae.jpg": 335,
}


def photograph(file: Path) -> torch.Tensor:
    """(1, 3, side, side), 0..1: the middle of a photograph."""
    picture = to_tensor(Image.open(file).convert("RGB"))
    return center_crop(picture, [min(picture.shape[1:])])[None]


def resized(canvas: torch.Tensor) -> torch.Tensor:
    """At 224 px, as a backbone resizes it."""
    return torch.nn.functional.interpolate(canvas, 224, mode="bilinear", antialias=True, align_corners=False)


def within(model: torch.nn.Module, part: torch.nn.Module, seen: torch.Tensor) -> torch.Tensor:
    """What a part of a network gives while the whole of it runs."""
    found: list[torch.Tensor] = []
    hook = part.register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        model.eval()(seen)
    hook.remove()
    return found[0]


@pytest.fixture(scope="module")
def specs(real: Path) -> dict[str, BackboneSpec]:
    return read_specs(str(real / "specs.yaml"))


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_tokens_of_a_convolutional_network_are_those_of_its_own_forward_pass(real, specs, name):
    canvas = photograph(real / next(iter(KNOWN)))
    model = timm.create_model(specs[name].model, pretrained=False)
    weights = {key: tensor.float() for key, tensor in load_file(specs[name].weights).items()}
    model.load_state_dict(weights)
    own = within(model, model.blocks[4], (resized(canvas) - 0.5) / 0.5)  # the last at a sixteenth of the side
    with torch.no_grad():
        tokens = Backbone(name, specs[name])(canvas)
    assert own.shape[-2:] == (14, 14)
    torch.testing.assert_close(tokens, own.flatten(2).mT, rtol=1e-3, atol=1e-3 * own.std().item())


def test_tokens_of_the_transformer_are_those_of_its_own_forward_pass(real, specs):
    canvas = photograph(real / next(iter(KNOWN)))
    # at the size of the checkpoint; positions are then resampled to each picture's
    model = timm.create_model(specs["dino"].model, pretrained=False, num_classes=0, dynamic_img_size=True)
    model.load_state_dict({key: tensor.float() for key, tensor in load_file(specs["dino"].weights).items()})
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    block = within(model, model.blocks[specs["dino"].layer], (resized(canvas) - mean) / std)
    with torch.no_grad():
        own = model.norm(block)[:, 1:]  # without the class token
        tokens = Backbone("dino", specs["dino"])(canvas)
    assert tokens.shape == (1, 16 * 16, 384)
    torch.testing.assert_close(tokens, own, rtol=1e-3, atol=1e-3 * own.std().item())


def test_what_the_classifier_says_of_photographs_is_right(real, specs):
    backbone = Backbone("lite0", specs["lite0"])
    for file, wanted in KNOWN.items():
        with torch.no_grad():
            probabilities = backbone.logits(photograph(real / file)).softmax(1)[0]
        assert probabilities.argmax() == wanted, file
        assert probabilities[wanted] > 0.5, file


def test_from_photographs_to_a_report(real, tmp_path):
    pictures = real / "photos"
    words = (pictures / "train", "--backbones", real / "specs.yaml", "--limit", 24, "-o", tmp_path / "store")
    code, _, err = run("extract", *words)
    assert code == 0, err
    size = ("--n-concepts", 64, "-k", 8, "--steps", 150, "--batch", 1024)
    code, said, err = run("fit", tmp_path / "store", *size, "-o", tmp_path / "usae")
    assert code == 0, err
    assert said.startswith(f"{tmp_path / 'usae'}: 64 concepts over dino, lite0, lite2; dead: dino ")
    code, said, err = run("evaluate", tmp_path / "usae", pictures / "held", "--limit", 12, "-o", tmp_path / "report")
    assert code == 0, err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert max(report["dead"].values()) <= 6
    assert report["entropy"]["mean"] > 0.8
    assert min(report["r2"][name][name] for name in report["backbones"]) > 0.25
    assert min(figure for row in report["r2"].values() for figure in row.values()) > 0.05
    assert report["ceiling"]["r2"]["lite0"]["lite2"] > report["r2"]["lite0"]["lite2"]
    assert len([line for line in said.splitlines() if " -> " in line]) == 6
    assert load(tmp_path / "usae").scale("dino").matrix is not None
