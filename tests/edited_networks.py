"""Tiny networks with classifiers, and a concept space over them whose atoms are known."""

import torch

from usae_train.backbones.backbone import BackboneSpec, build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.model.usae import USAE


def vit(seed: int = 0, layer: int = 0, norm: bool = False, **options: object) -> BackboneSpec:
    """A transformer of two blocks on a 4x4 grid."""
    shape = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, **options}
    return BackboneSpec(
        model="vit_tiny_patch16_224",
        weights="random",
        seed=seed,
        input_size=32,
        layer=layer,
        norm=norm,
        classes=5,
        options=shape,
    )


SILENT = 15  # a concept that fires nowhere
SPECS = {
    "vit": vit(),
    "registers": vit(1, reg_tokens=3),
    "normed": vit(2, norm=True),
    "last": vit(3, layer=-1, norm=True, class_token=False, global_pool="avg", fc_norm=False),
    "conv": BackboneSpec(
        model="convnext_atto",
        weights="random",
        input_size=64,
        layer=-2,
        norm=False,
        classes=5,
        options={"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)},
    ),
    "nhwc": BackboneSpec(
        model="swin_tiny_patch4_window7_224",
        weights="random",
        input_size=64,
        layer=1,
        norm=False,
        classes=5,
        options={"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1), "window_size": 2},
    ),
}


def space(specs: dict[str, BackboneSpec]) -> USAE:
    """Sixteen concepts, four a token, over built backbones."""
    backbones = build_backbones(specs, warn=False)
    torch.manual_seed(0)
    model = USAE(
        {name: each.width for name, each in backbones.items()},
        16,
        4,
        specs=specs,
        grid=common_grid(list(backbones.values())),
    ).eval()
    canvases = torch.rand(2, 3, 64, 64)
    for name, backbone in backbones.items():
        with torch.no_grad():
            tokens = backbone(canvases)
            model.scale(name).set(tokens.mean(), tokens.std())
            model.encoder(name).linear.bias[SILENT] = -100
    return model
