"""Files that are not weights, or another model's: one line says which, and nothing is taken by chance."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models import _builder

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.timm_models import create_model

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}
VIT = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=64, options=SMALL)
DINO = BackboneSpec(model="vit_small_patch14_dinov2", weights="random", input_size=28, options=SMALL)


def tensors_of(spec: BackboneSpec, **changes: object) -> dict[str, torch.Tensor]:
    return dict(create_model("donor", spec.model_copy(update={"seed": 3, **changes})).state_dict())


def built(spec: BackboneSpec, file: Path, tensors: object = None) -> Backbone:
    if tensors is not None:
        torch.save(tensors, file)
    return Backbone("a", spec.model_copy(update={"weights": str(file)}))


def refused(spec: BackboneSpec, file: Path, words: str, tensors: object = None) -> None:
    with pytest.raises(ValueError, match=words) as seen:
        built(spec, file, tensors)
    assert str(seen.value).startswith("a: ")
    assert "\n" not in str(seen.value)


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    refused(VIT, tmp_path / "photo.jpg", "photo.jpg is a picture; expected a .safetensors or .pth file")
    (tmp_path / "model.pth").write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0")
    refused(VIT, tmp_path / "model.pth", "is an ONNX file, whose tensors have other names")
    np.savez(tmp_path / "model.npz", a=np.zeros(2))
    refused(VIT, tmp_path / "model.npz", "is a NumPy file")
    refused(VIT, tmp_path / "list.pth", "holds no tensors by name; expected", [torch.zeros(2)])
    save_file(tensors_of(VIT), tmp_path / "named.safetensors")
    (tmp_path / "named.safetensors").rename(tmp_path / "wrongly.pth")
    refused(VIT, tmp_path / "wrongly.pth", "is a safetensors file by its content; name it .safetensors")
    torch.save(tensors_of(VIT), tmp_path / "wrongly.safetensors")
    refused(VIT, tmp_path / "wrongly.safetensors", "is a file of torch's by its content; name it .pth")
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as opened:
        opened.writestr("a.jpg", "")
    refused(VIT, tmp_path / "photos.pth", "is a zip archive of something else")
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    refused(VIT, tmp_path / "lfs.safetensors", "is a pointer of Git LFS, without the file itself")


with warnings.catch_warnings():  # torch means to give them up
    warnings.simplefilter("ignore")
    QUANTIZED = torch.quantize_per_tensor(torch.ones(32), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore:Validating sparse", "ignore:TypedStorage")
@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.eye(32).to_sparse(), r"norm\.weight is sparse; save plain tensors"),
        (QUANTIZED, r"norm\.weight is quantized"),
        (torch.ones(32, dtype=torch.complex64), r"norm\.weight is complex"),
        (torch.ones(32, device="meta"), r"norm\.weight has a shape and no values \(device meta\)"),
    ],
)
def test_tensors_without_plain_numbers_are_named(tmp_path: Path, tensor: torch.Tensor, words: str) -> None:
    refused(VIT, tmp_path / "w.pth", words, {**tensors_of(VIT), "norm.weight": tensor})


@pytest.mark.parametrize("empty", [{}, {"state_dict": {}}])
def test_a_file_without_tensors_asks_nothing_of_the_hub(
    tmp_path: Path, empty: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("a model was asked for"))
    refused(VIT, tmp_path / "empty.pth", "has no tensors in it", empty)


def test_what_lies_under_names_of_its_own_is_named(tmp_path: Path) -> None:
    nested = {"teacher": tensors_of(VIT), "student": tensors_of(VIT)}
    refused(VIT, tmp_path / "w.pth", "holds teacher, student; save the one that you mean", nested)


def test_foreign_names_and_another_architecture_are_said(tmp_path: Path) -> None:
    foreign = {key.replace(".", "/"): value for key, value in tensors_of(VIT).items() if "." in key}
    refused(VIT, tmp_path / "w.pth", r"none of its \d+ names is one of the model's: it has 'patch_embed/proj", foreign)
    conv = BackboneSpec(model="resnet10t", weights="random", input_size=64)
    refused(VIT, tmp_path / "w.pth", "does not fit 'vit_tiny_patch16_224': none of its", tensors_of(conv))
    wider = tensors_of(VIT, options={**SMALL, "embed_dim": 48})
    refused(VIT, tmp_path / "w.pth", r"cls_token has the shape \(1, 1, 48\), and the model's \(1, 1, 32\)", wider)


def test_more_blocks_than_the_model_has_are_refused(tmp_path: Path) -> None:
    deeper = tensors_of(VIT, options={**SMALL, "depth": 3})
    refused(VIT, tmp_path / "w.pth", r"it has 'blocks\.2\..*', beyond the model's last block", deeper)


@pytest.mark.parametrize("input_size", [64, 32])
def test_a_classifier_of_another_size_is_refused_and_its_own_is_taken(tmp_path: Path, input_size: int) -> None:
    tensors = tensors_of(VIT, classes=10)
    spec = VIT.model_copy(update={"input_size": input_size, "classes": 7})
    refused(
        spec, tmp_path / "w.pth", "its classifier has 10 classes, and the spec says 7; set `classes` to 10", tensors
    )
    kept = built(spec.model_copy(update={"classes": 10}), tmp_path / "w.pth")
    assert torch.equal(kept.model.head.weight, tensors["head.weight"])  # type: ignore[union-attr]
    refused(spec, tmp_path / "none.pth", "head", tensors_of(VIT))


def test_a_head_is_left_out_at_another_input_size_where_the_architecture_has_none(tmp_path: Path) -> None:
    tensors = tensors_of(DINO, classes=5)
    backbone = built(DINO.model_copy(update={"input_size": 42}), tmp_path / "w.pth", tensors)
    assert backbone.grid == (3, 3)
    assert torch.equal(backbone.model.blocks[1].mlp.fc1.weight, tensors["blocks.1.mlp.fc1.weight"])  # type: ignore


def test_options_of_unknown_layers_are_said_with_the_backbones_name() -> None:
    with pytest.raises(ValueError, match=r"^a: timm knows no layer 'nonsense', which the option act_layer asks for"):
        Backbone("a", VIT.model_copy(update={"options": {**SMALL, "act_layer": "nonsense"}}))


def test_safetensors_that_lack_a_tensor_say_which(tmp_path: Path) -> None:
    tensors = tensors_of(VIT)
    del tensors["blocks.1.mlp.fc1.weight"]
    save_file(tensors, tmp_path / "w.safetensors")
    refused(VIT, tmp_path / "w.safetensors", r"it lacks 1 tensor, 'blocks\.1\.mlp\.fc1\.weight' first")


@pytest.mark.parametrize("input_size", [64, 32])
@pytest.mark.parametrize("part", ["blocks.0.ls1.gamma", "reg_token", "norm_pre.weight", "blocks.1.attn.q_norm.weight"])
def test_parts_that_the_model_has_not_are_of_another_one(tmp_path: Path, part: str, input_size: int) -> None:
    spec, more = VIT.model_copy(update={"input_size": input_size}), tensors_of(VIT)
    refused(spec, tmp_path / "w.pth", f"it has '{part}', a part that the model lacks", {**more, part: torch.ones(32)})
    beside = {"decoder.norm.weight": torch.ones(2), "mask_token": torch.ones(1, 32), "head_dist.bias": torch.ones(2)}
    built(spec, tmp_path / "beside.pth", more | beside | {"blocks.0.attn_mask": torch.zeros(2)})


def test_timms_own_loader_is_in_its_place_again_whatever_happened(tmp_path: Path) -> None:
    own = _builder.load_pretrained
    built(VIT, tmp_path / "w.pth", tensors_of(VIT))
    refused(VIT, tmp_path / "w.pth", "does not fit", tensors_of(DINO))
    assert _builder.load_pretrained is own


def test_a_timm_that_does_not_ask_for_weights_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = timm.create_model
    monkeypatch.setattr("timm.create_model", lambda *names, **more: whole(*names, **{**more, "pretrained": False}))
    refused(VIT, tmp_path / "w.pth", r"^a: timm .* loads weights in an unknown way", tensors_of(VIT))


def test_bytes_that_are_no_text_are_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A UnicodeDecodeError is a ValueError, and was taken for one of ours."""
    (tmp_path / "w.pth").write_bytes(b"something")
    monkeypatch.setattr("torch.load", lambda file, **how: b"\xff".decode())
    refused(VIT, tmp_path / "w.pth", r"w\.pth is not a readable weight file \('utf-8' codec can't decode")


@pytest.mark.parametrize("reader", ["is_zipfile", "ZipFile"])
def test_a_zip_archive_that_cannot_be_looked_into_is_not_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Of some damage `zipfile.is_zipfile` raises, where one expects a no."""

    def damaged(file: object) -> bool:
        raise zipfile.BadZipFile(f"{file} spans several disks")

    torch.save({}, tmp_path / "w.pth")
    monkeypatch.setattr(zipfile, reader, damaged)
    refused(VIT, tmp_path / "w.pth", r"w\.pth is not a readable weight file \(.* spans several disks\)")


RELEASE = VIT.model_copy(update={"model": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "weights": "pretrained"})
RESNET = BackboneSpec(model="resnet18.a1_in1k", classes=10, input_size=64)  # timm has no converter of its names


def released(spec: BackboneSpec, changes: object) -> object:
    """What a file of timm's own may hold: tensors of the network, and others by these names."""
    own = tensors_of(spec, weights="random")
    return {**own, **changes} if isinstance(changes, dict) else changes


@pytest.mark.filterwarnings("ignore:Validating sparse", "ignore:TypedStorage")
@pytest.mark.parametrize(
    ("spec", "changes", "words"),
    [
        (RELEASE, None, r"w\.pth holds no tensors by name; remove it to download it again"),
        (RELEASE, [1], r"w\.pth holds no tensors by name"),
        (RELEASE, torch.zeros(2), r"w\.pth holds no tensors by name"),
        (RELEASE, {"cls_token": None}, "it lacks 1 tensor, 'cls_token' first"),
        (RELEASE, {"norm.weight": [1.0]}, r"it lacks 1 tensor, 'norm\.weight' first"),
        (RELEASE, {"norm.weight": torch.eye(32).to_sparse()}, r"norm\.weight is sparse"),
        (RELEASE, {"norm.weight": QUANTIZED}, r"norm\.weight is quantized"),
        (RELEASE, {"norm.weight": torch.ones(32, device="meta")}, r"norm\.weight has a shape and no values"),
        (RELEASE, {"norm.weight": torch.ones(32, dtype=torch.complex64)}, r"norm\.weight is complex"),
        (RESNET, {"conv1.weight": 3}, r"it lacks 1 tensor, 'conv1\.weight' first"),
        (RESNET, {"fc.weight": 3}, r"it lacks 1 tensor, 'fc\.weight' first"),
        (RESNET, {"fc.weight": torch.tensor(1.0)}, r"fc\.weight has the shape \(\), and the model's \(10, 512\)"),
    ],
)
def test_a_release_of_timms_own_that_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: BackboneSpec, changes: object, words: str
) -> None:
    torch.save(released(spec, changes), tmp_path / "w.pth")
    monkeypatch.setattr("usae_train.backbones.timm_models.pretrained_file", lambda name, spec: tmp_path / "w.pth")
    with pytest.raises(ValueError, match=words) as seen:
        Backbone("a", spec)
    assert str(seen.value).startswith("a: ")


@pytest.mark.parametrize("spec", [RELEASE, RESNET])
def test_a_release_may_hold_other_things_beside_its_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: BackboneSpec
) -> None:
    beside = {"epoch": 3, "freqs": torch.ones(2, dtype=torch.complex64)}
    torch.save(released(spec, beside), tmp_path / "w.pth")
    monkeypatch.setattr("usae_train.backbones.timm_models.pretrained_file", lambda name, spec: tmp_path / "w.pth")
    read = create_model("a", spec).state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in tensors_of(spec, weights="random").items())


def test_a_classifier_without_rows_does_not_fit(tmp_path: Path) -> None:
    spec = VIT.model_copy(update={"classes": 5})
    refused(
        spec, tmp_path / "w.pth", "head.weight has the shape", tensors_of(spec) | {"head.weight": torch.tensor(1.0)}
    )


def test_a_fault_while_weights_are_filled_in_is_not_said_of_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes out of timm's builder, whose TypeErrors and LookupErrors are of options that do not go together."""
    monkeypatch.setattr("usae_train.backbones.network_filling._fill_network", lambda: None)  # which takes no network
    with pytest.raises(TypeError, match="positional arguments"):
        built(VIT, tmp_path / "w.pth", tensors_of(VIT))
