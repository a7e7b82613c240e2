"""Which concepts are active: each variant by hand, kept in a folder, and refused in one line where it cannot be."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import usae_train as ut
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.jumprelu import JumpReLU
from usae_train.model.sparsity.relu import ReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.model.sparsity.variants import read_sparsity, variants

PRE_CODES = torch.tensor([[3.0, -1.0, 0.5, 2.0], [-2.0, -1.0, -3.0, 0.5], [-1.0, -1.5, -3.0, -4.0]])
THRESHOLDS = {"batchtopk": torch.tensor(0.5), "jumprelu": torch.tensor([4.0, 0.0, 0.0, 0.4])}
EXPECTED = {
    TopK(): [[3, 0, 0, 2], [0, 0, 0, 0.5], [0, 0, 0, 0]],
    TopK(signed=True): [[3, 0, 0, 2], [0, -1, 0, 0.5], [-1, -1.5, 0, 0]],
    BatchTopK(): [[3, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]],
    JumpReLU(): [[0, 0, 0.5, 2], [0, 0, 0, 0.5], [0, 0, 0, 0]],
    ReLU(): [[3, 0, 0.5, 2], [0, 0, 0, 0.5], [0, 0, 0, 0]],
}


@pytest.mark.parametrize(("sparsity", "expected"), EXPECTED.items(), ids=repr)
def test_by_hand(sparsity, expected):
    codes = sparsity.codes(PRE_CODES, 2, THRESHOLDS.get(sparsity.kind))
    assert torch.equal(codes.dense(4), torch.tensor(expected))
    assert (codes.values.diff(dim=-1) <= 0).all()
    assert sparsity.slots(2) in (None, codes.values.shape[-1])
    assert all(len(set(row.tolist())) == len(row) for row in codes.indices)


@pytest.mark.parametrize("sparsity", EXPECTED, ids=repr)
def test_the_gradient_reaches_what_is_active_and_no_tokens_are_no_error(sparsity):
    pre_codes = PRE_CODES.clone().requires_grad_()
    codes = sparsity.codes(pre_codes, 2, THRESHOLDS.get(sparsity.kind))
    codes.values.sum().backward()
    assert torch.equal(pre_codes.grad != 0, codes.dense(4) != 0)
    assert sparsity.codes(PRE_CODES[:0], 2, THRESHOLDS.get(sparsity.kind)).values.shape[0] == 0


@pytest.mark.parametrize("sparsity", EXPECTED, ids=repr)
def test_a_folder_keeps_it_with_a_threshold_per_backbone(tmp_path, sparsity):
    usae = ut.USAE({"a": 3, "b": 2}, 4, 2, sparsity=sparsity).eval()
    for number, own in enumerate(usae.thresholds.values()):
        own.data.fill_(0.1 + number)
    ut.save(usae, tmp_path / "usae")
    loaded = ut.load(tmp_path / "usae")
    assert loaded.sparsity == sparsity
    tokens = torch.randn(9, 2)
    assert torch.equal(loaded.encode("b", tokens).dense(4), usae.encode("b", tokens).dense(4))
    thresholded = sparsity.threshold_shape(4) is not None
    assert {key: float(own.mean()) for key, own in loaded.thresholds.items()} == pytest.approx(
        {"a": 0.1, "b": 1.1} if thresholded else {}
    )


def test_a_folder_of_before_says_nothing_of_it_and_is_saved_again_equal_to_the_byte(tmp_path):
    demo = ut.model.places.EMBEDDED["demo"]
    usae = ut.load("demo")
    assert (usae.sparsity, usae.unit_norm, len(usae.thresholds)) == (TopK(), True, 0)
    for name in ("one", "two"):
        ut.save(usae, tmp_path / name, half=True)
    before, after = (json.loads((place / "config.json").read_text()) for place in (demo, tmp_path / "one"))
    assert not {"sparsity", "unit_norm"} & after.keys()
    assert before.keys() - after.keys() == set()
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (demo / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "jumprelus"},
            "sparsity of kind 'jumprelus'; expected batchtopk, jumprelu, relu, splittopk, topk; did you mean",
        ),
        ({"kind": ["relu"]}, "sparsity: sparsity of kind"),
        ("relu", "sparsity: sparsity of kind 'None'; expected batchtopk"),
        ({"kind": "relu", "signed": True}, "signed: unknown name"),
        ({"kind": "jumprelu"}, "thresholds.a is none, and by config.json it should be (4,)"),
    ],
)
def test_what_is_none_is_one_line(tmp_path, change, message):
    ut.save(ut.USAE({"a": 3}, 4, 2), tmp_path / "usae")
    file = tmp_path / "usae" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sparsity": change}))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        ut.load(tmp_path / "usae")
    assert message in str(caught.value)


def test_a_mean_token_alone_is_subtracted_and_added_again(tmp_path):
    usae = ut.USAE({"a": 3}, 4, 2, unit_norm=False).eval()
    mean = torch.tensor([1.0, -2.0, 3.0])
    usae.scale("a").set_mean_token(mean)
    tokens = torch.randn(5, 3)
    assert torch.equal(usae.standardize("a", tokens), tokens - mean)
    assert torch.allclose(usae.readout("a", [0, 1, 2, 3])(tokens), usae.pre_codes("a", tokens), atol=1e-6)
    codes = usae.encode("a", tokens)
    usae.decoder("a").weight.data.mul_(3)
    assert torch.allclose(usae.decode("a", codes), codes.dense(4) @ usae.decoder("a").weight + mean, atol=1e-5)
    assert torch.allclose(usae.dictionary("a").norm(dim=1), torch.ones(4))
    ut.save(usae, tmp_path / "usae")
    assert torch.equal(ut.load(tmp_path / "usae").decode("a", codes), usae.decode("a", codes))
    file = tmp_path / "usae" / "model.safetensors"
    save_file({**load_file(file), "scales.a.std": torch.ones(())}, file)
    with pytest.raises(ValueError, match=r"scales.a.mean is \(3,\), and by config.json it should be \(\)"):
        ut.load(tmp_path / "usae")


def test_every_variant_is_found_by_its_kind():
    assert {kind: type(read_sparsity({"kind": kind})) for kind in variants()} == dict(variants())
