"""One small network of every family that timm has: is it read as timm would read it, and said where it is not?"""

from collections.abc import Iterator

import pytest
import torch
from timm_families import families, made_in_a_moment
from torch import Tensor

from usae_train.backbones.backbone import Backbone

pytestmark = pytest.mark.slow
GREY = 0.4
NO_NORM = {"hiera", "hieradet_sam2"}  # they refuse `norm=True`
NORM_IN_HEAD = {
    "beit", "convnext", "csatv2", "davit", "edgenext", "inception_next", "mambaout", "metaformer", "naflexvit", "pit",
    "rdnet", "tiny_vit", "vision_transformer_relpos", "vitamin",
}  # fmt: skip
MORE_FOLLOWS = {
    "coat", "crossvit", "efficientnet", "efficientvim", "fastvit", "ghostnet", "hrnet", "mobilenetv5", "nfnet", "pit",
    "repghost", "rexnet", "volo", "xception_aligned", "xcit",
}  # fmt: skip


@pytest.fixture(scope="module", params=families())
def network(request: pytest.FixtureRequest) -> Iterator[tuple[str, Backbone]]:
    with made_in_a_moment():
        yield request.param, Backbone(request.param, families()[request.param])


def grey_and_bright(backbone: Backbone) -> Tensor:
    """(2, 3, size, size): grey with some noise, and the same with a bright patch in the corner at the top right."""
    size = backbone.input_size
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    canvas = (GREY + 0.1 * noise).repeat(2, 1, 1, 1)
    canvas[1, :, : size // 4, -size // 4 :] = 1
    return canvas


def normalized(backbone: Backbone, canvas: Tensor) -> Tensor:
    """As timm's own data config of the model says."""
    config = backbone.model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (canvas - mean) / std


def read_by_timm(backbone: Backbone, canvas: Tensor, norm: bool) -> Tensor:
    """Tokens of the last layer, (batch, token, width), with timm's own defaults besides."""
    _, layers = backbone.model.forward_intermediates(normalized(backbone, canvas), norm=norm)
    return layers[-1].flatten(2).mT.float()


@torch.no_grad()
def test_grid_width_and_tokens_are_those_of_timms_last_layer(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    last, canvas = backbone.model.feature_info[-1], grey_and_bright(backbone)
    side = round(backbone.input_size / last["reduction"])
    if family != "convmixer":  # its patches of 7 px are padded
        assert backbone.grid == (side, side)
    assert side >= 2
    assert backbone.width == last["num_chs"]
    tokens = backbone(canvas)
    assert tokens.isfinite().all()
    torch.testing.assert_close(tokens, read_by_timm(backbone, canvas, family not in NO_NORM), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_bright_corner_is_seen_in_that_corner(network: tuple[str, Backbone]) -> None:
    _, backbone = network
    grey, bright = backbone(grey_and_bright(backbone)).unflatten(1, backbone.grid)
    change = (bright - grey).norm(dim=-1)
    rows, cols = (side // 2 for side in backbone.grid)
    corner = change[:rows, -cols:].mean()
    others = change[-rows:, -cols:].mean(), change[:rows, :cols].mean(), change[-rows:, :cols].mean()
    assert all(corner > other for other in others), (corner, others)


@torch.no_grad()
def test_what_is_read_otherwise_is_said(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    notes = " ".join(backbone.notes())
    assert ("applies no norm" in notes) == (family in NO_NORM)
    assert ("`norm: true` changes nothing" in notes) == (family in NORM_IN_HEAD)
    assert ("forward_features" in notes) == (family in MORE_FOLLOWS)


def test_gradients_reach_the_whole_canvas_and_no_weight(network: tuple[str, Backbone]) -> None:
    _, backbone = network
    canvas = grey_and_bright(backbone)[1:].requires_grad_()
    tokens = backbone(canvas)
    (tokens * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert canvas.grad is not None
    assert canvas.grad.isfinite().all()
    quarters = canvas.grad.abs().unflatten(-1, (2, -1)).unflatten(-3, (2, -1)).amax((0, 1, 3, 5))
    assert (quarters > 0).all()
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


@torch.no_grad()
def test_bfloat16_is_timms_own(network: tuple[str, Backbone]) -> None:
    family, backbone = network
    canvas = grey_and_bright(backbone)[:1]
    backbone.run_in = torch.bfloat16
    tokens = backbone(canvas)
    backbone.run_in = torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        expected = read_by_timm(backbone, canvas, family not in NO_NORM)
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, expected)


@torch.no_grad()
def test_a_pictures_tokens_are_its_own_and_always_the_same(network: tuple[str, Backbone]) -> None:
    _, backbone = network
    canvas = grey_and_bright(backbone)
    together = backbone(canvas)
    assert torch.equal(backbone(canvas), together)
    torch.testing.assert_close(backbone(canvas[1:]), together[1:], rtol=1e-3, atol=1e-4)
