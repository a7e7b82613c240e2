"""One small network of every family that timm has: is it read as timm would read it, and said where it is not?"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from timm_families import families, made_in_a_moment
from torch import Tensor

from usae_train.backbones.backbone import Backbone

pytestmark = pytest.mark.slow
GREY = 0.4
NO_NORM = {"hiera", "hieradet_sam2"}  # they refuse `norm=True`
PADDED_OTHERWISE = {"convmixer": 9, "inception_resnet_v2": 2, "inception_v3": 2, "inception_v4": 2, "sequencer": 4}
# Their last layers, until they are trained, mix all places; the first stage does not.
SEEN_EARLIER = {"davit", "efficientvim", "efficientvit_mit", "levit", "shvit"}
NORM_IN_HEAD = {
    "beit",
    "convnext",
    "csatv2",
    "davit",
    "edgenext",
    "inception_next",
    "mambaout",
    "metaformer",
    "naflexvit",
    "pit",
    "rdnet",
    "tiny_vit",
    "vision_transformer_relpos",
    "vitamin",
}
MORE_FOLLOWS = {
    "coat",
    "crossvit",
    "efficientnet",
    "efficientvim",
    "fastvit",
    "ghostnet",
    "hrnet",
    "mobilenetv5",
    "nfnet",
    "pit",
    "repghost",
    "rexnet",
    "volo",
    "xception_aligned",
    "xcit",
}


@pytest.fixture(scope="module", params=families())
def network(request: pytest.FixtureRequest) -> Iterator[tuple[str, Backbone]]:
    with made_in_a_moment():
        yield request.param, Backbone(request.param, families()[request.param])


def quarters(pictures: Tensor) -> list[Tensor]:
    """The four corners (batch, channel, rows / 2, cols / 2) of pictures or features, views of them."""
    rows, cols = (side // 2 for side in pictures.shape[-2:])
    return [
        pictures[..., down, across]
        for down in (slice(rows), slice(-rows, None))
        for across in (slice(cols), slice(-cols, None))
    ]


def grey_and_bright(backbone: Backbone) -> Tensor:
    """(5, 3, size, size): grey with some noise, and the same with each quarter bright in turn."""
    size = backbone.input_size
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    canvas = (GREY + 0.1 * noise).repeat(5, 1, 1, 1)
    for number, quarter in enumerate(quarters(canvas)):
        quarter[number + 1] = 1
    return canvas


def normalized(backbone: Backbone, canvas: Tensor) -> Tensor:
    """As timm's own data config of the model says; in memory as ours are, for bfloat16 is rounded otherwise if not."""
    config: Any = backbone.model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((canvas - mean) / std).contiguous(memory_format=backbone._layout)


def read_by_timm(backbone: Backbone, canvas: Tensor, norm: bool) -> Tensor:
    """Tokens of the last layer, (batch, token, width), with timm's own defaults besides."""
    model: Any = backbone.model
    _, layers = model.forward_intermediates(normalized(backbone, canvas), norm=norm)
    return layers[-1].flatten(2).mT.float()


def assert_near(found: Tensor, expected: Tensor) -> None:
    """To what float32 keeps of their largest: with such weights some networks' tokens are huge."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@torch.no_grad()
def test_grid_width_and_tokens_are_those_of_timms_last_layer(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    stages: Any = backbone.model.feature_info
    last, canvas = stages[-1], grey_and_bright(backbone)[:2]
    side = PADDED_OTHERWISE.get(family, round(backbone.input_size / last["reduction"]))
    assert backbone.grid == (side, side)
    assert side >= 2
    assert backbone.width == last["num_chs"]
    tokens = backbone(canvas)
    assert tokens.isfinite().all()
    assert_near(tokens, read_by_timm(backbone, canvas, family not in NO_NORM))


@torch.no_grad()
def test_a_bright_corner_is_seen_in_that_corner(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    if family in SEEN_EARLIER:
        backbone = Backbone(family, backbone.spec.model_copy(update={"layer": 0}))
    features = backbone(grey_and_bright(backbone)).mT.unflatten(2, backbone.grid)
    change = (features[1:] - features[:1]).norm(dim=1)
    seen = torch.stack([corner.mean((1, 2)) for corner in quarters(change)], 1).log()  # (bright corner, corner)
    seen -= seen.mean(1, keepdim=True) + seen.mean(0)  # whatever is shown, some places answer more
    assert seen.argmax(1).tolist() == [0, 1, 2, 3], seen


@torch.no_grad()
def test_what_is_read_otherwise_is_said(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    notes = " ".join(backbone.notes())
    assert ("applies no norm" in notes) == (family in NO_NORM)
    assert ("`norm: true` changes nothing" in notes) == (family in NORM_IN_HEAD)
    assert ("forward_features" in notes) == (family in MORE_FOLLOWS)


def test_gradients_reach_the_whole_canvas_and_no_weight(network: tuple[str, Backbone]) -> None:
    _, backbone = network
    canvas = grey_and_bright(backbone)[1:2].requires_grad_()
    tokens = backbone(canvas)
    (tokens * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert canvas.grad is not None
    assert canvas.grad.isfinite().all()
    assert all(quarter.abs().max() > 0 for quarter in quarters(canvas.grad))
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


@torch.no_grad()
def test_bfloat16_is_timms_own(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    canvas = grey_and_bright(backbone)[:1]
    backbone.compute_dtype = torch.bfloat16
    tokens = backbone(canvas)
    backbone.compute_dtype = torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        expected = read_by_timm(backbone, canvas, family not in NO_NORM)
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, expected)


@torch.no_grad()
def test_a_pictures_tokens_are_its_own_and_always_the_same(network: tuple[str, Backbone]) -> None:
    _, backbone = network
    canvas = grey_and_bright(backbone)[:2]
    together = backbone(canvas)
    assert torch.equal(backbone(canvas), together)
    assert_near(backbone(canvas[1:]), together[1:])
