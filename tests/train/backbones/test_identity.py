"""Is a backbone the one that a USAE was trained with? Others are said in one line, other precision passes."""

import json
from pathlib import Path

import pytest
import torch
from command_line import assert_one_error, run
from safetensors.torch import load_file, save_file
from stores import make_pictures
from stores import write as write_store

import usae_train as ut
from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.identity import TOLERANCE, SimilarWeightsWarning, trial_picture, weights_hash
from usae_train.backbones.timm_models import create_model
from usae_train.model.checkpoint import save
from usae_train.tokens.store import ActivationStore, read_record, write_record

VIT = BackboneSpec(
    model="vit_tiny_patch16_224",
    weights="random",
    input_size=32,
    options={"depth": 2, "embed_dim": 32, "num_heads": 2},
)
CONV = BackboneSpec(model="resnet10t", weights="random", input_size=64, layer=2)


def saved(spec: BackboneSpec, file: Path, dtype: torch.dtype = torch.float32, **changes: object) -> BackboneSpec:
    """A spec whose weights lie in a file: random ones of another seed, in some precision."""
    tensors = create_model("donor", spec.model_copy(update={"seed": 3, **changes})).state_dict()
    save_file({name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}, file)
    return spec.model_copy(update={"weights": str(file)})


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a USAE over a transformer and a convolutional network, each with a weight file of its own."""
    specs = {"a": saved(VIT, tmp_path / "a.safetensors"), "b": saved(CONV, tmp_path / "b.safetensors")}
    pictures = make_pictures(tmp_path / "pictures")
    usae = ut.fit(pictures, backbones=specs, n_concepts=8, k=2, steps=2, batch=16, max_broken=0.2)
    return save(usae, tmp_path / "usae")


def test_a_usae_keeps_what_its_backbones_were_and_knows_them_again(trained: Path) -> None:
    kept = json.loads((trained / "config.json").read_text())["weights"]
    assert set(kept) == {"a", "b"}
    usae = ut.load(trained)
    assert {name: own.record().sha256 for name, own in usae.backbones.items()} == {
        name: own["sha256"] for name, own in kept.items()
    }
    assert usae.weights["b"].distance(usae.backbones["b"].record()) < 1e-6


def test_other_weights_are_said_in_one_line(trained: Path, tmp_path: Path) -> None:
    saved(CONV, trained / "backbones" / "b.safetensors", seed=4)
    usae = ut.load(trained)
    with pytest.raises(ValueError, match=r"^b is not the backbone that this USAE was trained with \(hash .*put the"):
        _ = usae.backbones
    done = run("evaluate", str(trained), "demo", "--limit", "2", "-o", str(tmp_path / "report"))
    assert_one_error(done, "b is not the backbone that this USAE was trained with")
    assert not (tmp_path / "report").exists()


def test_weights_in_half_precision_are_let_pass_with_a_warning(trained: Path) -> None:
    saved(VIT, trained / "backbones" / "a.safetensors", torch.float16)
    with pytest.warns(SimilarWeightsWarning, match=r"a has nearly the weights .* differ by 0\.\d%"):
        assert set(ut.load(trained).backbones) == {"a", "b"}
    code, _, err = run("evaluate", str(trained), "demo", "--limit", "2", "-o", str(trained.parent / "report"))
    assert code == 0
    assert [line[:35] for line in err.splitlines() if "nearly" in line] == ["warning: a has nearly the weights t"]


def test_the_same_weights_read_at_another_layer_are_said(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["backbones"]["a"]["layer"] = 0
    (trained / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"a is not the backbone .*the weights are the same, but they are read differently"
    ):
        _ = ut.load(trained).backbones


def test_a_folder_of_before_has_no_records_and_loads(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    del config["weights"]
    (trained / "config.json").write_text(json.dumps(config))
    saved(CONV, trained / "backbones" / "b.safetensors", seed=4)
    assert set(ut.load(trained).backbones) == {"a", "b"}


def test_a_new_backbone_is_recorded_beside_the_known_ones(trained: Path) -> None:
    usae = ut.load(trained)
    grown = ut.add_backbone(usae, trained.parent / "pictures", VIT, name="c", steps=2, batch=16, max_broken=0.2).usae
    assert {name: own for name, own in grown.weights.items() if name != "c"} == usae.weights
    assert grown.weights["c"] == Backbone("c", VIT).record()


def test_a_store_hands_its_records_on_and_is_gone_on_with_by_no_others(tmp_path: Path) -> None:
    store = write_store(make_pictures(tmp_path / "pictures"), tmp_path / "store")
    usae = ut.fit(store, n_concepts=8, k=2, steps=2, batch=16)
    assert usae.weights == store.record.weights
    assert set(usae.backbones) == {"left", "right"}
    write_record(store.folder, store.record.model_copy(update={"complete": False}))
    other = {**store.record.weights, "left": store.record.weights["right"]}
    assert read_record(store.folder).differences(store.record.model_copy(update={"weights": other})) == ["weights"]
    of_before = store.record.model_copy(update={"weights": {}})
    assert of_before.differences(store.record) == []
    write_record(store.folder, of_before)
    assert ActivationStore(store.folder).record.weights == {}


def test_the_demo_is_what_it_was() -> None:
    usae = ut.load("demo")
    assert set(usae.weights) == set(usae.names)
    for name, backbone in usae.backbones.items():
        assert usae.weights[name].sha256 == backbone.record().sha256


def test_the_hash_is_of_the_weights_and_not_of_the_file_or_of_what_was_folded(tmp_path: Path) -> None:
    spec = saved(CONV, tmp_path / "w.safetensors")
    torch.save(load_file(tmp_path / "w.safetensors"), tmp_path / "w.pth")
    other = spec.model_copy(update={"weights": str(tmp_path / "w.pth")})
    expected = weights_hash(create_model("a", spec))
    assert Backbone("a", spec).record().sha256 == Backbone("a", other).record().sha256 == expected
    assert Backbone("a", saved(CONV, tmp_path / "o.safetensors", seed=9)).record().sha256 != expected


def test_a_little_of_the_picture_is_enough_to_tell_networks_apart() -> None:
    picture = trial_picture(64)
    assert (picture.min(), picture.max()) == (pytest.approx(0, abs=0.05), 1)
    one, two = (Backbone("a", VIT.model_copy(update={"seed": seed})).record() for seed in (0, 1))
    assert one.distance(two) > 10 * TOLERANCE
    assert one.distance(Backbone("a", VIT.model_copy(update={"input_size": 16})).record()) == float("inf")
    assert len(one.tokens) < 1500


@pytest.mark.real
def test_real_networks_in_bfloat16_are_known_again_and_trained_on_are_not(real: Path, tmp_path: Path) -> None:
    spec = BackboneSpec(
        model="tf_efficientnet_lite0",
        weights=str(real / "weights/tf_efficientnet_lite0.safetensors"),
        layer=-2,
        classes=1000,
    )
    own, tensors = Backbone("a", spec).record(), load_file(spec.weights)
    generator = torch.Generator().manual_seed(0)

    def distance(change: float, dtype: torch.dtype) -> float:
        moved = {
            name: (t.float() * (1 + change * torch.randn(t.shape, generator=generator))).to(dtype)
            for name, t in tensors.items()
            if t.is_floating_point()
        }
        save_file({**tensors, **moved}, tmp_path / "w.safetensors")
        return own.distance(
            Backbone("a", spec.model_copy(update={"weights": str(tmp_path / "w.safetensors")})).record()
        )

    assert 0 < distance(0.0, torch.bfloat16) < TOLERANCE
    assert distance(0.01, torch.float32) > TOLERANCE
