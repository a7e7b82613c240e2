"""Options of a spec, and configs of strangers: what shapes a network is let through by name, and nothing else."""

import json
import pickle
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from test_weight_files import SMALL, VIT, tensors_of

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.bundled_weights import check_weights
from usae_train.backbones.options import REFUSED_OPTIONS, SPEC_FIELDS, option_names
from usae_train.backbones.timm_models import create_model
from usae_train.model.checkpoint import load, save
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing of timm's own reading: a test that comes to either fails."""
    for name in ("load_state_dict", "load_state_dict_from_hf", "load_state_dict_from_path", "load_state_dict_from_url"):
        monkeypatch.setattr(f"timm.models._builder.{name}", lambda *_, **__: pytest.fail("timm reads by itself"))
    monkeypatch.setattr("timm.models._factory.load_checkpoint", lambda *_, **__: pytest.fail("timm reads by itself"))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))


@pytest.mark.parametrize("name", sorted(REFUSED_OPTIONS - SPEC_FIELDS))
def test_what_shapes_no_network_is_refused_by_name_before_anything_is_built(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not an option of a network and is not passed to timm"):
        BackboneSpec(model="vit_tiny_patch16_224", weights="random", options={name: "somewhere"})


@pytest.mark.parametrize("name", sorted(SPEC_FIELDS))
def test_options_that_have_a_field_of_their_own_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be set here; use `input_size`, `weights` and `classes`"):
        BackboneSpec(model="vit_tiny_patch16_224", options={name: 1})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 1}, "depth is a dict; expected a number, a word"),
        ([{"a": 1}], "depth is a dict"),
        (float("nan"), "depth is nan, not a number of a network's size"),
        (10**9, "depth is 1e\\+09, not a number"),
        ("x" * 100, "depth is a word that no network takes"),
        ("a\nb", "a word that no"),
        ([1] * 100, "a list of 100"),
        ([[[[1]]]], "depth is a list"),
        (Path("a"), "depth is a PosixPath"),
    ],
)
def test_values_that_are_not_plain_are_refused(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BackboneSpec(model="vit_tiny_patch16_224", options={"depth": value})


def test_a_spec_in_yaml_says_the_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("a:\n  model: resnet10t\n  options:\n    cache_dir: here\n")
    with pytest.raises(ValueError, match=r"s\.yaml:3: a\.options: cache_dir is not an option of a network") as seen:
        read_specs(str(tmp_path / "s.yaml"))
    assert "\n" not in str(seen.value)


def test_what_timms_own_entries_say_of_their_networks_is_accepted() -> None:
    assert {
        "depth",
        "embed_dim",
        "num_heads",
        "class_token",
        "reg_tokens",
        "act_layer",
        "dynamic_img_size",
    } <= option_names("vit_tiny_patch16_224")
    assert {"drop_path_rate", "output_stride", "stem_type", "layers"} <= option_names("resnet50")
    assert {"window_size", "depths"} <= option_names("swin_tiny_patch4_window7_224")
    assert {"bn_eps", "drop_rate"} <= option_names("efficientnet_lite0")
    for name in timm.list_models():
        assert {"drop_rate", "in_chans"} & option_names(name), name
        assert not REFUSED_OPTIONS & option_names(name)


def test_an_option_of_another_family_is_said_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"^a: 'resnet10t' has no option 'window_size' that shapes it; it has .*\w$"):
        Backbone("a", BackboneSpec(model="resnet10t", weights="random", options={"window_size": 4}))


@pytest.mark.parametrize("option", ["act_layer", "norm_layer"])
def test_layers_are_known_by_name_or_refused(option: str) -> None:
    good = {"act_layer": "relu", "norm_layer": "layernorm"}[option]
    create_model("a", VIT.model_copy(update={"options": {**SMALL, option: good}}))
    with pytest.raises(ValueError, match=f"^a: timm knows no layer 'no_layer', which the option {option} asks for"):
        create_model("a", VIT.model_copy(update={"options": {**SMALL, option: "no_layer"}}))


def folder_of(place: Path, seed: int = 3, file: str = "model.safetensors", **changes: Any) -> tuple[Path, Any]:
    """A folder as timm saves one, and its tensors."""
    place.mkdir(parents=True)
    tensors = tensors_of(VIT, seed=seed, classes=4, input_size=64)
    save_file(tensors, place / file)
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 4,
        "model_args": {**SMALL, "img_size": 64},
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "fixed_input_size": True,
            "mean": [0.1, 0.2, 0.3],
            "std": [0.5, 0.4, 0.3],
            "url": "https://example.invalid/w.pth",
            "file": "/nowhere/w.pth",
        },
    }
    (place / "config.json").write_text(json.dumps({**config, **changes}))
    return place, tensors


def test_a_local_folder_gives_its_network_its_input_and_its_weights(tmp_path: Path) -> None:
    folder, tensors = folder_of(tmp_path / "net")
    backbone = Backbone("a", BackboneSpec(model=f"local-dir:{folder}"))
    assert (backbone.input_size, backbone.width, backbone.grid) == (64, 32, (4, 4))
    assert backbone.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    found = backbone.model.state_dict()
    assert all(torch.equal(found[key], tensors[key]) for key in found)
    larger = Backbone("a", BackboneSpec(model=f"local-dir:{folder}", input_size=96, classes=4))
    assert larger.grid == (6, 6)
    assert torch.equal(larger.model.head.weight, tensors["head.weight"])  # type: ignore[union-attr]
    other = tensors_of(VIT, seed=8, input_size=64)
    save_file(other, tmp_path / "o.safetensors")
    own = Backbone("a", BackboneSpec(model=f"local-dir:{folder}", weights=str(tmp_path / "o.safetensors")))
    assert torch.equal(own.model.cls_token, other["cls_token"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_args": {"pretrained_cfg": "x"}}, "model_args: pretrained_cfg is not an option of a network"),
        (
            {"model_args": {"checkpoint_path": "x.pth"}},
            "model_args: checkpoint_path is not an option|cannot be set here",
        ),
        ({"model_args": {"depth": {"a": 1}}}, "model_args: depth is a dict"),
        ({"model_args": {"dept": 1}}, "has no option 'dept' that shapes it; it has depth"),
        ({"architecture": "no_such_net"}, "timm .* knows no architecture 'no_such_net'"),
        ({"architecture": 5}, "config.json of 'local-dir:.*: architecture: expected text"),
        ({"pretrained_cfg": {"mean": [1, 2]}}, "pretrained_cfg.mean.2: it is missing"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 224]}}, "pretrained_cfg.input_size.1"),
        ({"pretrained_cfg": 7}, "pretrained_cfg: expected"),
    ],
)
def test_a_config_that_asks_for_more_is_refused_in_one_line(tmp_path: Path, changes: Any, words: str) -> None:
    folder, _ = folder_of(tmp_path / "net", **changes)
    with pytest.raises(ValueError, match=words) as seen:
        Backbone("a", BackboneSpec(model=f"local-dir:{folder}"))
    assert str(seen.value).startswith("a: ")
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "is not a JSON object"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"model_type": "vit", "architectures": ["ViTModel"]}', "is that of Hugging Face's vit; expected timm's form"),
        ("{}", "is of unknown form; expected"),
        (None, "no config.json in .*; expected timm's form"),
    ],
)
def test_a_config_of_another_kind_is_said(tmp_path: Path, text: str | None, words: str) -> None:
    folder, _ = folder_of(tmp_path / "net")
    (folder / "config.json").unlink() if text is None else (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        Backbone("a", BackboneSpec(model=f"local-dir:{folder}"))


def test_a_config_of_before_has_one_mapping_for_all(tmp_path: Path) -> None:
    folder, tensors = folder_of(tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    own = {"architecture": config["architecture"], "mean": [0.1, 0.1, 0.1], "input_size": [3, 64, 64]}
    (folder / "config.json").write_text(json.dumps({**own, "fixed_input_size": True}))
    found = Backbone("a", BackboneSpec(model=f"local-dir:{folder}", options=SMALL))
    assert found.mean.flatten().tolist() == pytest.approx([0.1] * 3)
    assert torch.equal(found.model.cls_token, tensors["cls_token"])  # type: ignore[arg-type]


def test_a_network_of_any_size_is_not_told_one(tmp_path: Path) -> None:
    folder, _ = folder_of(tmp_path / "net", model_args={**SMALL, "dynamic_img_size": True, "img_size": 64})
    backbone = Backbone("a", BackboneSpec(model=f"local-dir:{folder}", input_size=96))
    assert backbone.grid == (6, 6)
    assert backbone.model.pos_embed.shape == (1, 14 * 14 + 1, 32)  # type: ignore[union-attr]  # of 224 px


def test_of_several_weight_files_none_is_guessed(tmp_path: Path) -> None:
    folder, _ = folder_of(tmp_path / "net", file="one.safetensors")
    Backbone("a", BackboneSpec(model=f"local-dir:{folder}"))
    (folder / "two.pth").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"a: which are the weights in .*found one\.safetensors, two\.pth; name the file"
    ):
        Backbone("a", BackboneSpec(model=f"local-dir:{folder}"))


class Hub:
    """What the hub has, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, [""]

    def __call__(self, repository: str, file: str, revision: str | None = None, local_files_only: bool = False) -> str:
        from huggingface_hub.errors import EntryNotFoundError

        self.asked.append(f"{repository}@{revision}/{file}{' here' if local_files_only else ''}")
        if not (self.folder / file).is_file():
            raise EntryNotFoundError("404")
        return str(self.folder / file)


def test_a_repository_of_the_hub_is_fetched_and_read_by_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, tensors = folder_of(tmp_path / "net")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub := Hub(folder))
    found = Backbone("a", BackboneSpec(model="hf-hub:some/net@v2"))
    assert torch.equal(found.model.cls_token, tensors["cls_token"])  # type: ignore[arg-type]
    assert hub.asked[1:] == ["some/net@v2/config.json", "some/net@v2/model.safetensors"]
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    again = Backbone("a", BackboneSpec(model="hf-hub:some/net@v2"))
    assert again.record().sha256 == found.record().sha256
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Fraction(1, 2)}))  # harmless, and more than tensors
    with pytest.raises(ValueError, match=r"pytorch_model\.bin holds more than tensors, and nothing that can run code"):
        Backbone("a", BackboneSpec(model="hf-hub:some/net@v2"))


def test_timms_own_ids_are_fetched_and_read_by_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = BackboneSpec(model="resnet10t.c3_in1k", input_size=64)
    donor = create_model("d", spec.model_copy(update={"weights": "random", "seed": 9, "classes": 1000})).state_dict()
    save_file(dict(donor), tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub := Hub(tmp_path))
    found = create_model("a", spec).state_dict()
    assert all(torch.equal(found[key], donor[key]) for key in found)
    assert hub.asked[1:] == ["timm/resnet10t.c3_in1k@None/model.safetensors"]
    kept = create_model("a", spec.model_copy(update={"classes": 1000}))
    assert torch.equal(kept.fc.weight, donor["fc.weight"])  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="its classifier has 1000 classes, and the spec says 7; set `classes` to 1000"):
        create_model("a", spec.model_copy(update={"classes": 7}))


def test_a_hub_that_is_not_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def unreachable(_: str, file: str, local_files_only: bool, **__: object) -> None:
        asked.append((file, local_files_only))
        raise LocalEntryNotFoundError("no network\nand more lines")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(ValueError, match=r"^a: 'resnet10t' could not be fetched .*\(no network\); check") as seen:
        Backbone("a", BackboneSpec(model="resnet10t"))
    assert "\n" not in str(seen.value)
    assert asked[:2] == [("model.safetensors", False), ("pytorch_model.bin", True)]
    assert all(here for _, here in asked[1:])


def test_an_architecture_without_weights_says_so() -> None:
    with pytest.raises(ValueError, match=r"^a: timm has no weights of .ese_vovnet39b_evos.; give a file in `weights`"):
        Backbone("a", BackboneSpec(model="ese_vovnet39b_evos"))


def test_a_folder_is_taken_relative_to_the_yaml_and_carried_into_a_usae(tmp_path: Path) -> None:
    folder, tensors = folder_of(tmp_path / "specs" / "net", file="own.safetensors")
    torch.save(tensors, folder / "own.pth")
    (folder / "own.safetensors").unlink()
    (tmp_path / "specs" / "s.yaml").write_text(
        "a: {model: 'local-dir:net'}\nb: {model: 'local-dir:net', weights: w.pth}\n"
    )
    torch.save(tensors_of(VIT, seed=8, input_size=64), tmp_path / "specs" / "w.pth")
    specs = read_specs(str(tmp_path / "specs" / "s.yaml"))
    assert specs["a"].model == f"local-dir:{folder}"
    usae = USAE({"a": 32, "b": 32}, 8, 2, specs=specs, grid=(4, 4))
    usae.weights = {name: Backbone(name, spec).record() for name, spec in specs.items()}
    save(usae, tmp_path / "usae")
    shutil.rmtree(tmp_path / "specs")
    (tmp_path / "usae").rename(tmp_path / "elsewhere")
    loaded = load(tmp_path / "elsewhere")
    assert {name: own.record().sha256 for name, own in loaded.backbones.items()} == {
        name: own.sha256 for name, own in usae.weights.items()
    }
    kept = sorted(
        str(file.relative_to(tmp_path / "elsewhere" / "backbones"))
        for file in (tmp_path / "elsewhere" / "backbones").rglob("*")
        if file.is_file()
    )
    assert kept == ["a/config.json", "a/model.safetensors", "b.safetensors", "b/config.json"]
    assert "example.invalid" not in (tmp_path / "elsewhere/backbones/a/config.json").read_text()


def test_a_folder_that_is_gone_is_said_before_hours_of_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: its folder .*net is gone; put it back, or point the spec at another"):
        check_weights({"a": BackboneSpec(model=f"local-dir:{tmp_path / 'net'}")})


def test_the_home_is_written_out_in_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert BackboneSpec(model="m", weights="~/w.pth").weights == str(tmp_path / "w.pth")
    assert BackboneSpec(model="local-dir:~/net").model == f"local-dir:{tmp_path / 'net'}"
    (tmp_path / "s.yaml").write_text("a:\n  model: resnet10t\n  weights: ~nobody-of-this-name/w.pth\n")
    with pytest.raises(
        ValueError, match=r"s\.yaml:3: a\.weights: .*this machine has no home directory of ~nobody-of-this-name"
    ):
        read_specs(str(tmp_path / "s.yaml"))
    with pytest.raises(ValueError, match=r"^local-dir:~nobody-of-this-name: .*no home directory of ~nobody") as seen:
        read_specs("local-dir:~nobody-of-this-name")
    assert "\n" not in str(seen.value)


def test_a_folder_of_a_command_line_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    specs = read_specs("local-dir:net/")
    assert {name: spec.model for name, spec in specs.items()} == {"net": f"local-dir:{tmp_path / 'net'}"}
