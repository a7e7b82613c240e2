"""What is read of a layer, and one network read at several layers: in one pass, by names of their own, in a folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import assert_one_error, run
from safetensors.torch import save_file
from torch import Tensor

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.backbone import Backbone, BackboneSpec, build_backbones
from usae_train.backbones.bundled_weights import copy_all_weights
from usae_train.backbones.module_backbone import ModuleBackbone
from usae_train.backbones.shared_pass import tokens_together
from usae_train.backbones.timm_models import create_model
from usae_train.model.spec_files import read_specs

SMALL = {"depth": 3, "embed_dim": 32, "num_heads": 2, "reg_tokens": 2}
VIT = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=64, options=SMALL)
CNN = BackboneSpec(model="resnet18", weights="random", input_size=64)
SWIN = BackboneSpec(
    model="swin_tiny_patch4_window7_224",
    weights="random",
    input_size=64,
    options={"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
)
SPECS = """
several:
  model: vit_tiny_patch16_224
  weights: vit.safetensors
  input_size: 64
  options: {depth: 3, embed_dim: 32, num_heads: 2, reg_tokens: 2}
  layers: [0, 2]
attended:
  model: vit_tiny_patch16_224
  weights: vit.safetensors
  input_size: 64
  options: {depth: 3, embed_dim: 32, num_heads: 2, reg_tokens: 2}
  layer: 1
  site: attention
"""


def read_at(spec: BackboneSpec, **changes: Any) -> BackboneSpec:
    return spec.model_copy(update=changes)


@pytest.fixture
def canvas() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("sites")
    save_file(create_model("vit", VIT).state_dict(), room / "vit.safetensors")
    (room / "specs.yaml").write_text(SPECS)
    return room


def stream(backbone: Backbone, canvas: Tensor) -> dict[str, Tensor]:
    """By hand: what block 1 takes, its parts give and it gives, class and register tokens first."""
    model: Any = backbone.model
    with torch.no_grad():
        shown = (canvas - backbone.mean) / backbone.std
        tokens = model.blocks[0](model.norm_pre(model._pos_embed(model.patch_embed(shown))))
        block = model.blocks[1]
        attention = block.attn(block.norm1(tokens))
        mlp = block.mlp(block.norm2(tokens + attention))
        return {"attention": attention, "mlp": mlp, "block": tokens + attention + mlp}


def test_attention_and_mlp_are_what_the_block_adds_to_its_stream(canvas: Tensor) -> None:
    for site in ("attention", "mlp"):
        backbone = Backbone("vit", read_at(VIT, layer=1, site=site))
        torch.testing.assert_close(backbone(canvas), stream(backbone, canvas)[site][:, 3:])
        assert (backbone.width, backbone.grid) == (32, (4, 4))


@pytest.mark.parametrize("norm", [False, True])
def test_a_prefix_is_one_token_of_class_and_register_tokens(canvas: Tensor, norm: bool) -> None:
    backbone = Backbone("vit", read_at(VIT, layer=1, site="prefix", norm=norm))
    tokens = stream(backbone, canvas)["block"]
    expected = backbone.model.norm(tokens) if norm else tokens  # type: ignore[operator]
    torch.testing.assert_close(backbone(canvas), expected[:, :3].flatten(1)[:, None])
    assert (backbone.width, backbone.grid) == (96, (1, 1))


def test_a_gradient_reaches_the_canvas_from_a_site(canvas: Tensor) -> None:
    canvas.requires_grad_(True)
    Backbone("vit", read_at(VIT, site="mlp"))(canvas).square().sum().backward()
    assert canvas.grad is not None
    assert canvas.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "readings",
    [
        [read_at(VIT, layer=layer, site=site) for layer in (0, 2) for site in ("block", "attention", "mlp", "prefix")],
        [read_at(CNN, layer=layer) for layer in (3, 1)],
        [read_at(SWIN, layer=layer) for layer in (-1, -2)],
    ],
    ids=["vit", "resnet", "swin"],
)
def test_one_network_sees_a_picture_once_and_gives_what_each_would_alone(
    canvas: Tensor, readings: list[BackboneSpec]
) -> None:
    built = build_backbones({f"n{number}": spec for number, spec in enumerate(readings)}, warn=False)
    assert len({id(own.model) for own in built.values()}) == 1
    passes: list[object] = []
    first = next(module for module in built["n0"].model.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_hook(lambda *_: passes.append(None))
    with torch.no_grad():
        seen = tokens_together(built, canvas, (2, 2))
        assert len(passes) == 1
        for (name, tokens), spec in zip(seen.items(), readings, strict=True):
            alone = Backbone("alone", spec)
            assert torch.equal(tokens, alone(canvas, (2, 2)))
            assert torch.equal(built[name](canvas), alone(canvas))
            assert built[name].record() == alone.record()


def test_other_weights_are_another_network_and_a_module_is_read_alone(canvas: Tensor) -> None:
    built = build_backbones({"a": VIT, "b": read_at(VIT, seed=1), "c": read_at(VIT, norm=False)}, warn=False)
    assert len({id(own.model) for own in built.values()}) == 3
    module = ModuleBackbone(torch.nn.Conv2d(3, 4, 16, 16), "", input_size=64)
    seen = tokens_together(build_backbones({"a": module, "b": module}), canvas)
    assert torch.equal(seen["a"], seen["b"])


def test_a_layer_and_a_backbone_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "specs.yaml"
    file.write_text("x@1:\n  model: resnet18\nx:\n  model: vit_tiny_patch16_224\n  layers: [0, 1]\n")
    with pytest.raises(ValueError, match=r"specs.yaml:3: x: there is a backbone x@1 already; rename one of them"):
        read_specs(str(file))


def test_what_was_written_of_a_spec_is_written_as_before() -> None:
    assert "site" not in VIT.model_dump()
    assert BackboneSpec.model_validate_json(read_at(VIT, site="mlp").model_dump_json()).site == "mlp"
    assert BackboneSpec.model_validate_json(VIT.model_dump_json()) == VIT


def test_layers_of_a_file_are_a_backbone_each(written: Path) -> None:
    specs = read_specs(str(written / "specs.yaml"))
    assert {name: (spec.layer, spec.site) for name, spec in specs.items()} == {
        "several@0": (0, "block"),
        "several@2": (2, "block"),
        "attended": (1, "attention"),
    }


def test_from_pictures_to_a_drawing(written: Path, tmp_path: Path) -> None:
    words = ["--backbones", written / "specs.yaml", "--limit", "4", "--quiet"]
    assert run("extract", "demo", *words, "--out", tmp_path / "store")[0] == 0
    fit = ["--n-concepts", "8", "-k", "2", "--steps", "2", "--batch", "16", "--device", "cpu", "--quiet"]
    assert run("fit", tmp_path / "store", *fit, "--out", tmp_path / "usae") == (0, "", "")
    (kept,) = (tmp_path / "usae" / "backbones").iterdir()  # one network, and so one copy of its weights
    assert kept.name == "several@0.safetensors"
    usae = ut.load(tmp_path / "usae")
    assert usae.names == ["several@0", "several@2", "attended"]
    assert len({id(own.model) for own in usae.backbones.values()}) == 1
    assert run("evaluate", tmp_path / "usae", "demo", "--limit", "4", "--out", tmp_path / "report", "--quiet")[0] == 0
    drawn = uv.maximize(usae, uv.Concept(1), size=32, steps=1, seed=0)
    drawn.save(tmp_path / "drawn")
    assert (tmp_path / "drawn" / "concept-00001" / "several@2.png").is_file()
    again = ut.fit("demo", backbones=str(written / "specs.yaml"), limit=4, n_concepts=8, k=2, steps=2, batch=16)
    assert again.names == usae.names


def test_a_folder_takes_a_weight_file_once_however_the_network_is_read(written: Path, tmp_path: Path) -> None:
    first = read_specs(str(written / "specs.yaml"))["several@0"]
    specs = {"first": first, "last": read_at(first, layer=-1), "bare": read_at(first, norm=False, site="mlp")}
    brought = copy_all_weights(specs, tmp_path)
    assert [file.name for file in (tmp_path / "backbones").iterdir()] == ["first.safetensors"]
    assert {spec.weights for spec in brought.values()} == {"backbones/first.safetensors"}
    assert {name: read_at(spec, weights=first.weights) for name, spec in brought.items()} == specs


def test_an_ordered_file_is_named_by_each_network_that_reads_it(tmp_path: Path) -> None:
    torch.save(create_model("vit", VIT).state_dict(), tmp_path / "vit.pth")
    one = read_at(VIT, weights=str(tmp_path / "vit.pth"), tensors="ordered")
    other = read_at(one, options={**SMALL, "num_heads": 4})
    brought = copy_all_weights({"one": one, "last": read_at(one, layer=-1), "other": other}, tmp_path / "usae")
    assert {name: spec.weights[10:-12] for name, spec in brought.items()} == {
        "one": "one",
        "last": "one",
        "other": "other",
    }
    assert {spec.tensors for spec in brought.values()} == {"named"}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (read_at(CNN, site="prefix"), "'resnet18' cannot be read at the site `prefix`: it has no class or register"),
        (read_at(CNN, site="attention"), "site `attention`: its layers are not blocks whose tokens are those that are"),
        (read_at(SWIN, site="mlp"), "site `mlp`: its layers are not blocks whose tokens are those that are read"),
        (read_at(VIT, site="mlp", layer=3), "has no layer 3; it has 0 to 2"),
        (read_at(VIT, site="prefix", layer=3), "cannot be read at layer 3's prefix"),
    ],
)
def test_a_site_that_a_network_does_not_have(spec: BackboneSpec, text: str) -> None:
    with pytest.raises(ValueError, match=r"^a: ") as found:
        Backbone("a", spec)
    assert text in str(found.value)


def test_a_fault_of_ours_beside_the_first_pass_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("usae_train.backbones.folding.PassRecorder.pairs", broken)
    with pytest.raises(TypeError, match=r"^ours$"):
        Backbone("a", CNN)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("site: nose", "x.site: "),
        ("layers: [1, 1]", "layers are [1, 1], one of them twice"),
        ("layers: 3", "x.layers: "),
        ("layers: [a]", "x.layers.0: "),
        ("layers: []", "x.layers: "),
        ("layers: [1], layer: 2", "both `layer` and `layers` are given"),
        ("layers: [1, 99]", "cannot be read at layer 1 and layer 99 and 224 px"),
    ],
)
def test_layers_that_are_none(tmp_path: Path, said: str, text: str) -> None:
    file = tmp_path / "specs.yaml"
    file.write_text(f"x: {{model: vit_tiny_patch16_224, weights: random, options: {{depth: 2, embed_dim: 6}}, {said}}}")
    words = ["extract", "demo", "--limit", "2", "--backbones", file, "--out", tmp_path / "store"]
    assert_one_error(run(*words), text)
    assert not (tmp_path / "store").exists()
