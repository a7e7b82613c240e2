"""A table of timm's architectures, small and with random weights: are their tokens read as they lie?

`laid out` is how `forward_features` gives the final layer: NLC (class and register tokens first), NHWC or NCHW. The
final tokens must be exactly those, the prefix dropped, row by row; of an earlier layer grid and width are known.
"""

from typing import Any, NamedTuple

import pytest
import torch

from usae_train.backbones.backbone import Backbone, BackboneSpec


class Case(NamedTuple):
    model: str
    size: int
    options: dict[str, Any]
    grid: tuple[int, int]  # of the final layer
    width: int
    prefix: int  # class and register tokens
    laid_out: str
    earlier: int  # a layer before the last
    earlier_grid: tuple[int, int]
    earlier_width: int


SMALL_VIT = {"depth": 2, "embed_dim": 32, "num_heads": 2}
TABLE = {
    "vit": Case("vit_tiny_patch16_224", 64, SMALL_VIT, (4, 4), 32, 1, "NLC", 0, (4, 4), 32),
    "vit without class token": Case(
        "vit_tiny_patch16_224",
        48,
        {**SMALL_VIT, "class_token": False, "global_pool": "avg"},
        (3, 3),
        32,
        0,
        "NLC",
        -2,
        (3, 3),
        32,
    ),
    "vit with registers": Case("vit_medium_patch16_reg4_gap_256", 64, SMALL_VIT, (4, 4), 32, 4, "NLC", 0, (4, 4), 32),
    "dinov2": Case("vit_small_patch14_dinov2", 42, SMALL_VIT, (3, 3), 32, 1, "NLC", 0, (3, 3), 32),
    "dinov2 with registers": Case("vit_small_patch14_reg4_dinov2", 42, SMALL_VIT, (3, 3), 32, 5, "NLC", 0, (3, 3), 32),
    "siglip": Case("vit_base_patch16_siglip_224", 64, SMALL_VIT, (4, 4), 32, 0, "NLC", 0, (4, 4), 32),
    "deit, distilled": Case("deit_tiny_distilled_patch16_224", 64, SMALL_VIT, (4, 4), 32, 2, "NLC", 0, (4, 4), 32),
    "eva02": Case("eva02_tiny_patch14_224", 56, SMALL_VIT, (4, 4), 32, 1, "NLC", 0, (4, 4), 32),
    "beit": Case("beit_base_patch16_224", 64, SMALL_VIT, (4, 4), 32, 1, "NLC", 0, (4, 4), 32),
    "convnext": Case(
        "convnext_atto",
        64,
        {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)},
        (2, 2),
        24,
        0,
        "NCHW",
        1,
        (8, 8),
        8,
    ),
    "resnet": Case("resnet10t", 64, {}, (2, 2), 512, 0, "NCHW", 2, (8, 8), 128),
    "regnet": Case("regnetx_002", 64, {}, (2, 2), 368, 0, "NCHW", -2, (4, 4), 152),
    "efficientnet": Case("efficientnet_lite0", 64, {}, (2, 2), 320, 0, "", 1, (16, 16), 24),
    "swin": Case(
        "swin_tiny_patch4_window7_224",
        64,
        {"depths": (1, 1), "embed_dim": 16, "num_heads": (1, 2), "window_size": 4},
        (8, 8),
        32,
        0,
        "NHWC",
        0,
        (16, 16),
        16,
    ),
    "mixer": Case("mixer_s32_224", 64, {}, (2, 2), 512, 0, "NLC", 0, (2, 2), 512),
}


def backbone_of(case: Case, **changes: Any) -> Backbone:
    options = {**case.options, **changes.pop("options", {})}
    spec = BackboneSpec(model=case.model, weights="random", input_size=case.size, options=options, **changes)
    return Backbone("a", spec)


def shown(case: Case) -> torch.Tensor:
    return torch.rand(2, 3, case.size, case.size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TABLE)
def test_final_tokens_are_the_models_own_row_by_row(name: str) -> None:
    case = TABLE[name]
    backbone, canvas = backbone_of(case), shown(case)
    tokens = backbone(canvas)
    assert (backbone.grid, backbone.width) == (case.grid, case.width)
    assert tokens.shape == (2, case.grid[0] * case.grid[1], case.width)
    assert getattr(backbone.model, "num_prefix_tokens", 0) == case.prefix
    features = backbone.model.forward_features((canvas - backbone.mean) / backbone.std)  # type: ignore[operator]
    ways = {
        "NLC": lambda: features[:, case.prefix :],
        "NHWC": lambda: features.flatten(1, 2),
        "NCHW": lambda: features.flatten(2).mT,
    }
    if case.laid_out:  # the others have a head before their features end
        torch.testing.assert_close(tokens, ways[case.laid_out]())


@pytest.mark.parametrize("name", TABLE)
def test_an_earlier_layer_has_its_own_grid_and_width(name: str) -> None:
    case = TABLE[name]
    backbone, canvas = backbone_of(case, layer=case.earlier), shown(case)
    assert (backbone.grid, backbone.width) == (case.earlier_grid, case.earlier_width)
    tokens, last = backbone(canvas), backbone_of(case)(canvas)
    assert tokens.isfinite().all()
    assert tokens.shape != last.shape or not torch.equal(tokens, last)
