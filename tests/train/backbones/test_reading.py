"""What is said of a backbone that is read otherwise than its spec makes one expect."""

import warnings
from pathlib import Path

import pytest
import torch
from command_line import assert_one_error, run
from timm_families import made_in_a_moment

from usae_train.backbones.backbone import Backbone, BackboneSpec, build_backbones
from usae_train.backbones.timm_models import create_model
from usae_train.runtime.warning_kinds import UnexpectedReadingWarning

SMALL_VIT = {"depth": 2, "embed_dim": 32, "num_heads": 2}
HIERA = BackboneSpec(
    model="hiera_tiny_224", weights="random", input_size=64, options={"embed_dim": 24, "stages": (1, 1, 1, 1)}
)


def vit(**changes: object) -> BackboneSpec:
    fields = {"model": "vit_tiny_patch16_224", "weights": "random", "input_size": 64, "options": SMALL_VIT, **changes}
    return BackboneSpec.model_validate(fields)


@pytest.mark.parametrize("layer", [-1, 0])
def test_nothing_is_said_of_a_norm_that_is_applied(layer: int) -> None:
    assert Backbone("a", vit(layer=layer)).notes() == []


def test_a_norm_in_the_head_is_said_unless_none_was_asked_for() -> None:
    pooled = vit(options={**SMALL_VIT, "global_pool": "avg"})
    asked, unasked = Backbone("a", pooled), Backbone("a", pooled.model_copy(update={"norm": False}))
    canvas = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(asked(canvas), unasked(canvas))
    (said,) = asked.notes()
    assert "`norm: true` changes nothing at layer -1" in said
    assert "`fc_norm`, comes later" in said
    assert unasked.notes() == []


def test_it_is_said_once_when_a_spec_is_chosen_and_not_when_a_usae_is_loaded() -> None:
    specs = {"pooled": vit(options={**SMALL_VIT, "global_pool": "avg"}), "plain": vit()}
    with pytest.warns(UnexpectedReadingWarning) as said:
        build_backbones(specs)
    assert [str(each.message).partition(": ")[0] for each in said] == ["pooled"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_backbones(specs, warn=False)


def test_a_model_that_takes_no_norm_is_read_without_one_and_says_so() -> None:
    asked, unasked = Backbone("a", HIERA), Backbone("a", HIERA.model_copy(update={"norm": False}))
    canvas = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(asked(canvas), unasked(canvas))
    assert asked.notes() == ["'hiera_tiny_224' applies no norm to its layers: layer -1 is read as with `norm: false`"]
    assert unasked.notes() == []


def test_a_picture_that_is_not_square_is_said_unless_a_size_is_given() -> None:
    spec = vit(model="vit_base_patch16_sapiens2", input_size=None, options={**SMALL_VIT, "depth": 1, "num_kv_heads": 1})
    own = Backbone("a", spec)
    assert (own.input_size, own.grid) == (768, (48, 48))
    assert "made for pictures of 1024 x 768 px, and pictures here are square: it sees 768 x 768 px" in own.notes()[0]
    assert not any("768" in note for note in Backbone("a", spec.model_copy(update={"input_size": 64})).notes())


@pytest.mark.parametrize(("model", "side"), [("efficientformer_l1", 256), ("mvitv2_tiny", 57)])
def test_a_size_that_a_model_cannot_take_is_refused_with_its_own(model: str, side: int) -> None:
    words = rf"{side} px: .*; its own `input_size` is 224x224$"
    with made_in_a_moment(), pytest.raises(ValueError, match=words) as seen:
        Backbone("a", BackboneSpec(model=model, weights="random", input_size=side))
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("levit_128s", 64),
        ("tiny_vit_5m_224", 64),
        ("efficientformer_l1", 224),
        ("efficientformerv2_s0", 64),
        ("efficientvit_m0", 64),
    ],
)
def test_attention_biases_are_those_of_the_weights_that_were_loaded(model: str, size: int, tmp_path: Path) -> None:
    spec = BackboneSpec(model=model, weights="random", input_size=size)
    canvas = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with made_in_a_moment():
        donor = create_model("a", spec)
        for name, parameter in donor.named_parameters():
            if name.endswith("attention_biases"):
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
        torch.save(donor.state_dict(), tmp_path / "w.pth")
        read = Backbone("a", spec.model_copy(update={"weights": str(tmp_path / "w.pth")}))
        first = Backbone("a", spec)
    before = first(canvas)
    own = first.model.state_dict()
    first.model.load_state_dict({name: read.model.state_dict()[name] for name in own})
    assert torch.equal(first(canvas), read(canvas))
    assert not torch.allclose(before, read(canvas))


def test_swin_reads_the_same_with_dynamic_sizes() -> None:
    options = {"depths": (1, 1), "embed_dim": 16, "num_heads": (1, 2), "window_size": 4}
    spec = vit(model="swin_tiny_patch4_window7_224", options=options)
    canvas = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    plain, dynamic = (
        Backbone("a", spec.model_copy(update={"options": {**options, **more}}))
        for more in ({}, {"dynamic_img_size": True})
    )
    assert plain.grid == dynamic.grid == (8, 8)
    assert torch.equal(plain(canvas), dynamic(canvas))


def test_extract_says_in_one_line_what_is_read_otherwise(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "specs.yaml").write_text(f"fine: {HIERA.model_dump_json()}")
    words = ("extract", picture_folder, "--backbones", tmp_path / "specs.yaml", "--device", "cpu")
    code, _, err = run(*words, "--out", tmp_path / "store")
    assert code == 0, err
    assert err == (
        "warning: fine: 'hiera_tiny_224' applies no norm to its layers: layer -1 is read as with `norm: false`\n"
    )
    assert run(*words, "--quiet", "--out", tmp_path / "quiet") == (0, "", "")


def test_extract_by_an_id_that_takes_no_norm_ends_in_one_line(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    ended = run("extract", picture_folder, "--backbones", "hiera_tiny_224", "--out", tmp_path / "store")
    assert_one_error(ended, "'hiera_tiny_224' could not be fetched from the hub (no network)")
