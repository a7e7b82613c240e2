import math

import pytest
import torch
from edited_networks import SILENT, SPECS, space, vit

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.interventions.edit_site import edit_site_of
from usae_train.interventions.edits import edit_shift, parse_edits
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE


def strongest(usae: USAE, name: str, pictures: torch.Tensor) -> int:
    """A concept that fires in the first picture."""
    with torch.no_grad():
        codes = usae.encode(name, usae.backbones[name](pictures))
    return int(codes.indices[0, 0, 0])


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


@pytest.mark.parametrize("name", SPECS)
def test_an_edit_of_nothing_changes_nothing_to_the_bit(edited, pictures, name):
    backbone = edited.backbones[name]
    with torch.no_grad():
        plain = backbone(pictures), backbone.logits(pictures)
        for edits in ({}, {SILENT: 0.0}, dict.fromkeys(range(16), ("scale", 1.0)), {0: ("add", 0.0)}):
            with ut.intervene(edited, name, edits) as network:
                assert same_bits(network(pictures), plain[0])
                assert same_bits(network.logits(pictures), plain[1])
        with ut.transplant(edited, name, name, pictures) as network:
            assert same_bits(network.logits(pictures), plain[1])


@torch.no_grad()
def test_nor_in_networks_that_have_learned(pictures):
    """The demo's: a ViT, one with registers and another grid, one without class token, read behind their norm."""
    usae = ut.load("demo")
    for name, backbone in usae.backbones.items():
        plain = backbone.embedding(pictures)
        with ut.intervene(usae, name, dict.fromkeys(range(256), ("scale", 1.0))):
            assert same_bits(backbone.embedding(pictures), plain)
        with ut.intervene(usae, name, {int(usae.encode(name, backbone(pictures)).indices[0, 0, 0]): 0.0}, prefix=True):
            assert not torch.equal(backbone.embedding(pictures), plain)


@pytest.mark.parametrize("name", [name for name in SPECS if name != "normed"])
@torch.no_grad()
def test_read_tokens_become_t_and_what_the_codes_change(edited, pictures, name):
    backbone, concept = edited.backbones[name], strongest(edited, name, pictures)
    tokens, before = backbone(pictures), backbone.logits(pictures)
    codes = edited.encode(name, tokens).dense(16)
    wanted = codes.clone()
    wanted[..., concept] *= 2
    wanted[..., SILENT] = 1.5
    every = torch.arange(16).expand(codes.shape)
    by = edited.decode(name, Codes(wanted, every)) - edited.decode(name, Codes(codes, every))
    with ut.intervene(edited, name, {concept: ("scale", 2.0), SILENT: 1.5}):
        torch.testing.assert_close(backbone(pictures), tokens + by, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(backbone.logits(pictures), before, atol=1e-6)
    assert same_bits(backbone.logits(pictures), before)


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("scaled", ["one number", "a matrix", "a mean token alone"])
@torch.no_grad()
def test_the_change_is_that_of_decode_in_every_kind_of_space(unit_norm, scaled):
    """Atoms as other libraries leave them, of any length; every standardization."""
    torch.manual_seed(0)
    usae = USAE({"a": 6}, 8, 3, unit_norm=unit_norm)
    usae.decoder("a").weight.mul_(2.5)
    scale = usae.scale("a")
    if scaled == "one number":
        scale.set(torch.tensor(0.3), torch.tensor(2.0))
    elif scaled == "a matrix":
        scale.set_matrix(torch.randn(6), torch.randn(6, 6))
    else:
        scale.set_mean_token(torch.randn(6))
    codes = usae.encode("a", torch.randn(5, 6))
    dense = codes.dense(8)
    changed = dense.clone()
    changed[:, 2], changed[:, 4] = 3 * dense[:, 2], 1.5
    every = torch.arange(8).expand(5, 8)
    by = usae.decode("a", Codes(changed, every)) - usae.decode("a", Codes(dense, every))
    found = edit_shift(usae, "a", codes, parse_edits(usae, {2: ("scale", 3.0), 4: 1.5}))
    torch.testing.assert_close(found, by, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
@torch.no_grad()
def test_a_backbone_that_runs_in_bfloat16_is_edited_too(edited, pictures, name, monkeypatch):
    backbone, concept = edited.backbones[name], strongest(edited, name, pictures)
    monkeypatch.setattr(backbone, "compute_dtype", torch.bfloat16)
    plain = backbone(pictures)
    with ut.intervene(edited, name, {concept: ("scale", 1.0)}):
        assert same_bits(backbone(pictures), plain)
    with ut.intervene(edited, name, {concept: ("scale", 3.0)}):
        assert not torch.equal(backbone(pictures), plain)


@torch.no_grad()
def test_class_and_register_tokens_are_edited_only_when_asked(edited, pictures):
    backbone = edited.backbones["registers"]
    site = edit_site_of(backbone)
    given = []
    hook = backbone.model.blocks[1].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    try:
        backbone.logits(pictures)
        for prefix in (False, True):
            with ut.intervene(edited, "registers", {2: 3.0}, prefix=prefix):
                backbone.logits(pictures)
    finally:
        hook.remove()
    plain, patches, all_tokens = given
    assert site.layout.prefix == 4
    assert same_bits(plain[:, :4], patches[:, :4])
    assert not torch.equal(plain[:, 4:], patches[:, 4:])
    assert (plain[:, :4] != all_tokens[:, :4]).any(-1).all()
    assert torch.equal(patches[:, 4:], all_tokens[:, 4:])


@torch.no_grad()
def test_a_picture_beside_an_edited_one_keeps_its_bits(edited, pictures):
    for name in ("conv", "vit", "nhwc"):
        backbone = edited.backbones[name]
        codes = edited.encode(name, backbone(pictures)).dense(16).amax(1)
        alone = next((k for k in range(16) if codes[0, k] > 0 and codes[1, k] == 0), None)
        if alone is None:
            continue
        plain = backbone.logits(pictures)
        with ut.intervene(edited, name, {alone: 0.0}):
            after = backbone.logits(pictures)
        assert same_bits(plain[1], after[1])
        assert not torch.equal(plain[0], after[0])
        return
    pytest.fail("no concept fires in one picture alone")


def test_hooks_are_gone_whatever_happened(edited, pictures):
    backbone = edited.backbones["vit"]
    edit_site_of(backbone)

    def hooks() -> int:
        return sum(len(module._forward_hooks) for module in backbone.model.modules())

    def fail(error: BaseException) -> None:
        with ut.intervene(edited, "vit", {1: 1.0}), ut.intervene(edited, "vit", {2: 1.0}):
            assert hooks() == 2
            raise error

    for error in (RuntimeError("of the caller's"), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(error)):
            fail(error)
        assert hooks() == 0
    with pytest.raises(ValueError, match="the donor saw 2 pictures, and vit is shown 1"):  # noqa: SIM117
        with ut.transplant(edited, "vit", "conv", pictures):
            backbone.logits(pictures[:1])
    assert hooks() == 0


@torch.no_grad()
def test_a_transplant_puts_the_donors_codes_in(edited, pictures):
    backbone, donor = edited.backbones["vit"], edited.backbones["conv"]
    tokens = backbone(pictures)
    there = edited.decode("vit", edited.encode("conv", donor(pictures, backbone.grid)))
    own = edited.decode("vit", edited.encode("vit", tokens))
    with ut.transplant(edited, "vit", "conv", pictures):
        torch.testing.assert_close(backbone(pictures), tokens + there - own, rtol=1e-4, atol=1e-5)
    with ut.transplant(edited, "vit", "conv", pictures, keep_rest=False):
        torch.testing.assert_close(backbone(pictures), there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({16: 0.0}, "no concept 16; this USAE has 16"),
        ({-1: 0.0}, "no concept -1"),
        ({"seeds": 0.0}, "an edit of 'seeds': expected a whole number, a concept's: 0 to"),
        ({True: 0.0}, "an edit of True"),
        ({3: math.nan}, "the edit of concept 3 has nan; expected a number from"),
        ({3: ("scale", math.inf)}, "the edit of concept 3 has inf"),
        ({3: ("twice", 2.0)}, r"the edit of concept 3 is \('twice', 2.0\); expected a code such as 0.0"),
        ({3: "0"}, "the edit of concept 3 is '0'"),
    ],
)
def test_edits_that_cannot_be_are_refused(edited, edits, said):
    with pytest.raises(ValueError, match=said), ut.intervene(edited, "vit", edits):
        pass


def test_a_backbone_that_is_not_there_and_a_usae_without_are_refused(edited):
    with pytest.raises(ValueError, match=r"unknown backbone 'vitt'.*did you mean 'vit'"):  # noqa: SIM117
        with ut.intervene(edited, "vitt", {1: 0.0}):
            pass
    with pytest.raises(ValueError, match="fitted on bare activations"), ut.intervene(USAE({"a": 3}, 4, 2), "a", {}):
        pass


def test_a_layer_that_cannot_be_edited_is_refused():
    hiera = BackboneSpec(
        model="hiera_tiny_224",
        weights="random",
        input_size=64,
        layer=0,
        norm=False,
        options={"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1)},
    )
    usae = space({"hiera": hiera})
    said = (
        r"hiera: layer 0 of 'hiera_tiny_224' cannot be edited: no part of the network outputs exactly the tokens that"
    )
    with pytest.raises(ValueError, match=said), ut.intervene(usae, "hiera", {1: 0.0}):
        pass


def test_a_class_token_read_after_the_last_layer_does_not_hear_the_patches():
    usae = space({"deaf": vit(layer=-1, norm=True), "hearing": vit(layer=0)})
    assert not edit_site_of(usae.backbones["deaf"]).reaches
    assert edit_site_of(usae.backbones["hearing"]).reaches


@torch.no_grad()
def test_an_edit_moves_what_the_same_network_is_read_behind_it_and_not_before(pictures):
    usae = space({f"one@{layer}": vit(layer=layer, depth=3) for layer in range(3)})
    plain = {name: each(pictures) for name, each in usae.backbones.items()}
    with ut.intervene(usae, "one@1", {strongest(usae, "one@1", pictures): 0.0}):
        same = {name: same_bits(each(pictures), plain[name]) for name, each in usae.backbones.items()}
    assert same == {"one@0": True, "one@1": False, "one@2": False}
