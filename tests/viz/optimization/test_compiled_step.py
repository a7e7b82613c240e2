"""Views, backbone and objective are one graph once chance is drawn: torch.compile finds nothing to stop at."""

import torch

import usae_viz as uv
from usae_train.backbones.backbone import BackboneSpec
from usae_train.model.usae import USAE
from usae_viz.views.augmentation import draw_views, show_views
from usae_viz.views.presets import AUGMENTATION_PRESETS
from usae_viz.views.viewing import ViewConfig, encode_views

OPTIONS = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
COLOURS = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1}


def test_views_backbone_and_objective_are_one_graph():
    spec = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=32, options=OPTIONS)
    usae = USAE({"a": 16}, 24, 3, specs={"a": spec}, grid=(4, 4)).eval().requires_grad_(False)
    augmentation = AUGMENTATION_PRESETS["default"].model_copy(update=COLOURS).for_patches(0.25)
    config, objective, backbone = ViewConfig(usae, augmentation, 4), uv.Concept(3), usae.backbones["a"]
    canvas = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    drawn = draw_views(canvas, augmentation, [torch.Generator().manual_seed(seed) for seed in (1, 2)], 4, 32)

    def scored(canvas):
        shown = show_views(canvas, augmentation, drawn, 4, 32)
        return objective(encode_views(config, backbone, canvas, shown))

    torch._dynamo.reset()
    found = []
    for each in (scored, torch.compile(scored, fullgraph=True, backend="aot_eager")):
        own = canvas.clone().requires_grad_()
        value = each(own)
        found.append((value.detach(), *torch.autograd.grad(value.sum(), own)))
    assert all(map(torch.equal, *found))
