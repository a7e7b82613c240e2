"""A module of one's own as a backbone."""

import pytest
import torch
from torch import Tensor, nn

import usae_train as ut
import usae_viz as uv
from usae_train.images.sources import DemoImages
from usae_train.interventions.edits import raw_atoms
from usae_train.training.add_backbone import add_untrained_pair
from usae_train.training.settings import FitSettings

SIZES = {"n_concepts": 8, "k": 2, "steps": 3, "batch": 64}


class Network(nn.Module):
    """A convolutional network with a classifier, a layer of tokens with two before the patches, and one unused."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem, self.layer3 = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, width, 2, 2)
        self.tokens, self.pairs, self.unused = nn.Identity(), Pairs(), nn.Identity()
        self.head = nn.Linear(width, 5)

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.layer3(self.stem(pictures))
        patches = seen.flatten(2).mT
        self.tokens(torch.cat([patches[:, :2] - 1, patches], 1))
        self.pairs(seen)
        return self.head(seen.mean((2, 3)))


class Pairs(nn.Module):
    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        return seen, seen


@pytest.fixture
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network()


def test_a_layer_of_it_is_read(network):
    own = ut.ModuleBackbone(network, "layer3", input_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), classes=5)
    canvas = torch.rand(2, 3, 32, 32, requires_grad=True)
    normalized = (canvas - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    expected = network.layer3(network.stem(normalized)).flatten(2).mT
    assert (own.width, own.grid) == (6, (4, 4))
    assert torch.allclose(own(canvas), expected, atol=1e-6)
    assert torch.allclose(own.tokens_and_logits(canvas)[1], network(normalized), atol=1e-6)
    (gradient,) = torch.autograd.grad(own(canvas).sum(), canvas)
    assert gradient.abs().sum() > 0
    assert not network.layer3._forward_hooks


def test_tokens_before_the_patches_are_dropped(network):
    own = ut.ModuleBackbone(network, "tokens", input_size=32, prefix=2)
    assert torch.equal(
        own(torch.ones(1, 3, 32, 32)), network.layer3(network.stem(torch.ones(1, 3, 32, 32))).flatten(2).mT
    )


def test_a_fit_with_it_is_saved_and_it_is_given_again(network, tmp_path):
    given = {"mine": ut.ModuleBackbone(network, "layer3", input_size=32)}
    usae = ut.fit(DemoImages(6), backbones=given, **SIZES)
    ut.save(usae, tmp_path / "usae")
    canvas = torch.rand(1, 3, 32, 32)
    again = ut.load(tmp_path / "usae", modules=given)
    assert torch.equal(again.tokens("mine", canvas), usae.tokens("mine", canvas))
    assert again.backbones["mine"].name == "mine"
    with pytest.raises(ValueError, match=r"mine: give Network.layer3, a module that no folder holds") as found:
        _ = ut.load(tmp_path / "usae").backbones
    assert "load(..., modules=" in str(found.value)
    assert str(found.value).endswith("no command takes one, so use Python")
    assert "mine: module not given, cannot be drawn; " in repr(ut.load(tmp_path / "usae"))
    assert "module not given" not in repr(again) + repr(usae)
    other = {"mine": ut.ModuleBackbone(Network(), "layer3", input_size=32)}
    with pytest.raises(ValueError, match="mine is not the backbone that this USAE was trained with"):
        _ = ut.load(tmp_path / "usae", modules=other).backbones
    wide = {"mine": ut.ModuleBackbone(Network(7), "layer3", input_size=32)}
    with pytest.raises(ValueError, match="mine: the module's layer has width 7, and the USAE's 6"):
        ut.load(tmp_path / "usae", modules=wide)
    with pytest.raises(ValueError, match="unknown backbone 'other'; this USAE has mine"):
        ut.load(tmp_path / "usae", modules={"other": given["mine"]})


def test_its_concepts_can_be_edited_and_what_they_do_to_its_answer_is_said(network):
    own = {"mine": ut.ModuleBackbone(network, "layer3", input_size=32, classes=5)}
    usae = ut.fit(DemoImages(6), backbones=own, quiet=True, **SIZES)
    canvas = DemoImages(1).read(0, 32)[None]
    mine = usae.backbones["mine"]
    with torch.no_grad():
        tokens, plain = mine(canvas), mine.logits(canvas)
        codes = usae.encode("mine", tokens)
        most = int(codes.dense(8).sum((0, 1)).argmax())
        with ut.intervene(usae, "mine", {most: 0.0}) as edited:
            found, moved = edited.logits(canvas), edited(canvas)
        expected = tokens - codes.of(most)[..., None] * raw_atoms(usae, "mine", [most])
    assert torch.allclose(moved, expected, atol=1e-4)
    assert torch.allclose(found, network.head(expected.mean(1)), atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-4)
    seen = uv.explain(usae, canvas[0], class_=3)
    (drop,) = [each.exact for each in seen.importance("mine") if each.concept == most]
    assert drop == pytest.approx((plain - found)[0, 3].item(), abs=1e-4)


def test_a_module_whose_answer_is_no_tensor_cannot_be_edited_and_says_so(network):
    network.forward = lambda pictures, own=network.forward: {"answer": own(pictures)}
    usae = ut.fit(DemoImages(6), backbones={"mine": ut.ModuleBackbone(network, "layer3", input_size=32)}, **SIZES)
    with pytest.raises(ValueError, match="mine: Network gives a dict; to have its concepts edited it must give"):
        ut.intervene(usae, "mine", {1: 0.0}).__enter__()


def test_weights_of_another_dtype_are_refused(network):
    with pytest.raises(ValueError, match=r"Network has weights of torch.float64; expected float32: give `module.float"):
        ut.ModuleBackbone(network.double(), "layer3", input_size=32)


def test_a_grown_space_still_has_the_module(network):
    mine = ut.ModuleBackbone(network, "layer3", input_size=32)
    usae = ut.fit(DemoImages(6), backbones={"mine": mine}, **SIZES)
    grown = add_untrained_pair(usae, "other", mine.spec, 5, FitSettings(n_concepts=usae.n_concepts, k=usae.k))
    assert grown.modules_given == {"mine": mine}
    assert not [name for name in mine.state_dict() if name.startswith("_")]


@pytest.mark.parametrize(
    ("layer", "options", "text"),
    [
        ("layer4", {}, "no layer 'layer4' in Network; there are layer3"),
        ("unused", {}, "unused: layer 'unused' did not run when a picture went through the network"),
        ("head", {}, "head: layer 'head' gives (1, 5); expected (batch, tokens, width), or four dimensions"),
        ("pairs", {}, "pairs: layer 'pairs' gives a tuple; expected"),
        ("tokens", {}, "gives 18 tokens, of which 0 are a prefix; the others are not a square of patches"),
        ("layer3", {"layout": "CHW"}, "layout is 'CHW'; expected NCHW or NHWC"),
        ("layer3", {"std": (0.0, 1.0, 1.0)}, "std.0: expected more than 0"),
    ],
)
def test_layers_that_are_refused(network, layer, options, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        ut.ModuleBackbone(network, layer, input_size=32, **options)
    assert text in str(found.value)
