"""A small network of every family (module) that timm has, made in a moment: nothing of it is drawn at random.

Most of the time of building one of timm's networks goes into its first weights, which here are slices of one noise.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import timm
import torch
from timm.models import _registry
from torch import nn
from torch.overrides import TorchFunctionMode

from usae_train.backbones.backbone import BackboneSpec

SIDE = 64  # pixels, unless a family wants more for a grid of at least 2 x 2
SMALL_VIT = {"depth": 2, "embed_dim": 64, "num_heads": 2}
SMALL: dict[str, tuple[str, int, dict[str, Any]]] = {
    "beit": ("beit_base_patch16_224", SIDE, SMALL_VIT),
    "byoanet": ("eca_botnext26ts_256", 128, {}),
    "crossvit": ("crossvit_tiny_240", 240, {"depth": [[1, 1, 0], [1, 1, 0]]}),
    "csatv2": ("csatv2", 128, {}),
    "davit": ("davit_tiny", SIDE, {"depths": (1, 1, 1, 1), "embed_dims": (16, 24, 32, 48), "num_heads": (1, 1, 2, 3)}),
    "deepseek_vit": ("deepseek_vit_412m", 56, SMALL_VIT),
    "efficientformer": ("efficientformer_l1", 224, {}),
    "efficientvim": ("efficientvim_m1", 128, {}),
    "efficientvit_msra": ("efficientvit_m0", 128, {}),
    "gemma4_vit": ("gemma4_vit_167m", 96, {"depth": 2, "intermediate_size": 256}),
    "hiera": ("hiera_tiny_224", SIDE, {"embed_dim": 24, "stages": (1, 1, 2, 1)}),
    "hieradet_sam2": ("sam2_hiera_tiny", SIDE, {}),
    "inception_resnet_v2": ("inception_resnet_v2", 128, {}),
    "inception_v3": ("inception_v3", 128, {}),
    "inception_v4": ("inception_v4", 128, {}),
    "levit": ("levit_128s", 128, {}),
    "mobilenetv5": ("mobilenetv5_base", SIDE, {}),
    "naflexvit": ("naflexvit_base_patch16_gap", SIDE, SMALL_VIT),
    "qwen3_vit": ("qwen3_vit_88m", SIDE, SMALL_VIT),
    "selecsls": ("selecsls42", 128, {}),
    "shvit": ("shvit_s1", 128, {}),
    "swin_transformer": ("swin_tiny_patch4_window7_224", SIDE, {"depths": (1, 1, 2, 1), "embed_dim": 24}),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", SIDE, {"depths": (1, 1, 2, 1), "embed_dim": 24}),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", SIDE, {"depths": (1, 1, 2, 1), "embed_dim": 24}),
    "tnt": ("tnt_s_legacy_patch16_224", SIDE, {"depth": 2}),
    "vgg": ("vgg11", SIDE, {"mlp_ratio": 0.02}),
    "vision_transformer_sam": ("samvit_base_patch16_224", SIDE, {**SMALL_VIT, "global_attn_indexes": (1,)}),
}  # fmt: skip
SMALLEST = {
    "focalnet_tiny_srf",
    "cait_xxs24_224", "coat_tiny", "convit_tiny", "convmixer_768_32", "cpubone_nano", "cs3darknet_focus_s",
    "cspnext_tiny", "deit_tiny_patch16_224", "densenet121", "dla46x_c", "dpn48b", "edgenext_xx_small",
    "efficientformerv2_s0", "efficientvit_b0", "vit_tiny_patch16_dinov3_qkvb", "fasternet_t0", "fastvit_t8",
    "gcvit_xxtiny", "ghostnet_050", "hardcorenas_b", "hgnetv2_b0", "hrnet_w18_small", "iformer_t",
    "inception_next_atto", "lcnetv2_small", "lowformer_b0", "poolformerv2_s12", "gmlp_ti16_224", "lcnet_035",
    "mobilevit_xxs", "mvitv2_tiny", "nasnetalarge", "nest_tiny", "nextvit_small", "pit_ti_224", "pnasnet5large",
    "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "repghostnet_050", "repvit_m1", "res2next50", "resnest14d",
    "resnetv2_18", "rexnet_100", "legacy_seresnet18", "sequencer2d_s", "skresnet18", "starnet_s050",
    "swiftformer_xs", "tiny_vit_5m_224", "tresnet_m", "twins_svt_small", "visformer_tiny", "vit_tiny_r_s16_p8_224",
    "vitamin_small_224", "volo_d1_224", "ese_vovnet19b_slim_dw", "legacy_xception", "xception41p",
    "xcit_nano_12_p8_224",
}  # fmt: skip
RANDOM = {"normal_", "uniform_", "trunc_normal_", "erfinv_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_"}
NOISE = torch.randn(2**20, generator=torch.Generator().manual_seed(0))


@cache
def families() -> dict[str, BackboneSpec]:
    """{family: spec}, of all families of the timm that is installed; one that is not known here by its first name."""
    members: dict[str, list[str]] = defaultdict(list)
    for model in timm.list_models():
        members[_registry._model_to_module[model]].append(model)
    return {family: _small(family, names) for family, names in sorted(members.items())}


def _small(family: str, models: list[str]) -> BackboneSpec:
    known = [model for model in models if model in SMALLEST or model.startswith("test_")]  # timm's own small ones
    model, size, options = SMALL.get(family, ((known or models)[0], SIDE, {}))
    return BackboneSpec(model=model, weights="random", input_size=size, options=options)


@contextmanager
def made_in_a_moment() -> Iterator[None]:
    """timm's networks with weights that are slices of one noise, biases and norms moved by it as well."""
    create = timm.create_model

    @torch.no_grad()
    def moment(*arguments: Any, **named: Any) -> nn.Module:
        with _Undrawn() as mode:
            model = create(*arguments, **named)
        for parameter in model.parameters():
            _fill(parameter, parameter.data_ptr() in mode.undrawn)
        for module in model.modules():
            _look_straight_ahead(module)
        return model

    timm.create_model = moment
    try:
        yield
    finally:
        timm.create_model = create


class _Undrawn(TorchFunctionMode):
    """Random first weights are zeros: no noise is drawn, and what draws until all lie between two bounds, ends."""

    def __init__(self) -> None:
        super().__init__()
        self.undrawn: set[int] = set()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensor = args[0] if args else kwargs.get("tensor")
        if getattr(function, "__name__", "") in RANDOM and isinstance(tensor, torch.Tensor):
            self.undrawn.add(tensor.data_ptr())
            return tensor.zero_()
        return function(*args, **kwargs)


def _fill(parameter: torch.Tensor, anew: bool) -> None:
    """Weights that keep the size of what passes; vectors that were not drawn are moved a little from what they are."""
    flat = parameter.view(-1)
    if parameter.ndim == 1 and not anew:
        flat.add_(NOISE[: len(flat)], alpha=0.1)
        return
    scale = 0.1 if parameter.ndim == 1 else math.sqrt(len(parameter) / parameter.numel())
    for first in range(0, len(flat), len(NOISE)):
        part = flat[first : first + len(NOISE)]
        torch.mul(NOISE[: len(part)], scale, out=part)


def _look_straight_ahead(module: nn.Module) -> None:
    """Let a layer take most of what it gives from the same place: where all is mixed at random, no place is seen."""
    if isinstance(module, nn.Linear):
        module.weight.mul_(0.5)  # of attention and of layers across tokens; what is added to is left
    if isinstance(module, nn.Conv2d) and module.kernel_size[0] > module.stride[0]:
        away = [(torch.arange(side) - (side - 1) / 2).abs() for side in module.kernel_size]
        window = (-2 * (away[0][:, None] + away[1])).exp()
        module.weight.mul_(window / window.square().mean().sqrt())
