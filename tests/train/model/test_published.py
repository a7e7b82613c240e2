"""The authors' release, as a small one in exactly their form (fixtures/published_checkpoint) has it."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import usae_train as ut
from usae_train.cli import app
from usae_train.model.published import NAMES, import_published

RELEASE = Path(__file__).parents[1] / "fixtures" / "published_checkpoint"
EXPECTED = np.load(RELEASE / "expected.npz")
OURS = {theirs: ours for theirs, (ours, _) in NAMES.items()}


@pytest.fixture(scope="module")
def imported():
    return import_published(RELEASE / "config.yaml")


def close(ours, theirs):
    return np.allclose(ours.numpy(), EXPECTED[theirs], atol=1e-5)


def test_it_has_their_sizes(imported):
    assert imported.widths == {"siglip": 24, "dino": 16, "vit": 24}
    assert (imported.n_concepts, imported.k, imported.grid, imported.recipe) == (96, 6, (14, 14), "published")
    assert imported.specs == {}  # the widths are not the paper's


@pytest.mark.parametrize("name", OURS)
def test_it_computes_what_their_code_computes(imported, name):
    tokens = torch.tensor(EXPECTED[f"tokens/{name}"])
    codes = imported.encode(OURS[name], tokens)
    assert close(imported.pre_codes(OURS[name], tokens), f"pre_codes/{name}")
    assert close(codes.dense(96), f"codes/{name}")
    assert close(imported.dictionary(OURS[name]), f"dictionary/{name}")
    for other, ours in OURS.items():
        decoded = imported.standardize(ours, imported.decode(ours, codes))
        assert close(decoded, f"reconstruction/{name}/{other}")


def test_the_command_writes_a_usae_folder_that_loads(tmp_path):
    done = CliRunner().invoke(app, ["import-published", str(RELEASE / "config.yaml"), "--out", str(tmp_path / "usae")])
    assert done.exit_code == 0, done.stderr
    loaded = ut.load(tmp_path / "usae")
    tokens = torch.tensor(EXPECTED["tokens/ViT"])
    assert close(loaded.pre_codes("vit", tokens), "pre_codes/ViT")


def test_with_the_papers_widths_the_preset_comes_along(tmp_path):
    text = (RELEASE / "config.yaml").read_text()
    for narrow, wide in (("input_shape: 16", "input_shape: 384"), ("    input_shape: 24", "    input_shape: 768")):
        text = text.replace(narrow, wide)
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "checkpoints").mkdir()
    for file in (RELEASE / "checkpoints").iterdir():
        content = torch.load(file, weights_only=True)
        weights = content["model_state_dict"]
        for key in ("encoder.final_block.0.weight", "dictionary._weights"):
            weights[key] = torch.randn(96, {16: 384, 24: 768}[weights[key].shape[1]])
        torch.save(content, tmp_path / "checkpoints" / file.name)
    assert import_published(tmp_path / "config.yaml").specs == dict(ut.PAPER)


with warnings.catch_warnings():  # torch means to give them up
    warnings.simplefilter("ignore")
    QUANTIZED = torch.quantize_per_tensor(torch.ones(96, 24), 0.1, 0, torch.qint8)


class Harm:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "checkpoints/uni_ViT_checkpoint_29.pth").unlink(), "ViT: no checkpoint at"),
        (
            lambda r: (r / "checkpoints/uni_ViT_checkpoint_29.pth").write_bytes(b"PK\x03\x04 cut short"),
            "is not a readable checkpoint",
        ),
        (
            lambda r: torch.save({"model_state_dict": Harm()}, r / "checkpoints/uni_ViT_checkpoint_29.pth"),
            "holds more than tensors, and nothing that can run code is loaded",
        ),
        (
            lambda r: torch.save({"model_state_dict": {}}, r / "checkpoints/uni_ViT_checkpoint_29.pth"),
            "encoder.final_block.0.weight is missing; by the YAML it should be (96, 24)",
        ),
        (
            lambda r: tensors(r, lambda w: w.update({"dictionary._weights": torch.eye(96, 24).to_sparse()})),
            "uni_ViT_checkpoint_29.pth: dictionary._weights is sparse; expected plain tensors",
        ),
        (
            lambda r: tensors(r, lambda w: w.update({"dictionary._weights": torch.zeros(96, 24, device="meta")})),
            "dictionary._weights has a shape and no values (device meta); expected plain tensors",
        ),
        (
            lambda r: tensors(r, lambda w: w.update({"dictionary._weights": QUANTIZED})),
            "dictionary._weights is quantized; expected plain tensors",
        ),
        (
            lambda r: tensors(r, lambda w: w["dictionary._weights"].fill_(float("nan"))),
            "dictionary._weights has values that are NaN or infinite",
        ),
        (
            lambda r: edit(r, "nb_components: 96", "nb_components: 1000000000000"),
            "global.nb_components: expected",
        ),
        (lambda r: edit(r, "top_k: 6", "top_k: 97"), "top_k 97 of 96 nb_components"),
        (lambda r: edit(r, "\n  SigLIP:", "\n  vit:"), "model_zoo names a backbone twice"),
        (lambda r: edit(r, "top_k: 6", "top_k: none"), "config.yaml:30: sae_params.top_k"),
        (lambda r: edit(r, "mlp_bn_1", "resnet_3b"), "sae_params.encoder_module: expected 'mlp_bn_1'"),
        (lambda r: edit(r, "num_tokens: 196", "num_tokens: 197"), "expected one square number for all backbones"),
        (lambda r: edit(r, "nb_components: 96", "nb_components: 95"), "by the YAML it should be (95, 24)"),
    ],
)
def test_another_form_is_one_line(tmp_path, change, message, capfd):
    release = shutil.copytree(RELEASE, tmp_path / "release")
    change(release)
    done = CliRunner().invoke(app, ["import-published", str(release / "config.yaml"), "--out", str(tmp_path / "usae")])
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "usae").exists()
    assert "code ran" not in capfd.readouterr().out


def tensors(release, change):
    """Change what one of the checkpoints holds."""
    file = release / "checkpoints/uni_ViT_checkpoint_29.pth"
    content = torch.load(file, weights_only=True)
    change(content["model_state_dict"])
    torch.save(content, file)


def edit(release, old, new):
    file = release / "config.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
