"""What the backbones compute in."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import nn

from usae_train.backbones.backbone import Backbone

FASTER = 1.2  # how many times, at least: bfloat16 is coarser, and processors lie far from it on one side or the other


def dtype_for(dtype: str, backbone: Backbone) -> torch.dtype:
    """What a backbone computes in where it stands.

    `auto` is bfloat16 on a GPU that has it; on a CPU that multiplies matrices faster in it, but for networks of grouped
    convolutions, which no processor that we measured runs faster so; else float32. Processor seconds of three views
    forward and backward in float32 and bfloat16 on a Xeon whose AMX is not to be used: EfficientNet-Lite0 (six views)
    0.23 and 0.35, ResNet-18 0.21 and 0.33, ConvNeXt-atto 0.11 and 0.15, ViT-S/14 0.79 and 1.18, ViT-B/16 1.76 and 3.02.
    An EPYC of Zen 4 has the ViT-B/16 faster in bfloat16.
    """
    if dtype != "auto":
        return getattr(torch, dtype)
    if backbone.mean.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in backbone.modules())
    return torch.bfloat16 if not grouped and multiplies_faster_in_bfloat16() else torch.float32


@cache
def multiplies_faster_in_bfloat16() -> bool:
    """Whether this processor does; tried once, for some milliseconds, with a transformer's matrices."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    tokens, weight = torch.ones(1024, 384), torch.ones(384, 1536)
    exact, short = (_seconds(tokens.to(dtype), weight.to(dtype)) for dtype in (torch.float32, torch.bfloat16))
    return exact > FASTER * short


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    """Processor seconds of a product, the least of five.

    Its place is there before: new memory is the system's work. In processes that began beside others it made 34 ms of
    7 in float32, so that some drew in bfloat16, and their pictures were other ones.
    """
    product, taken = left @ right, []
    for _ in range(5):
        began = time.process_time()
        torch.mm(left, right, out=product)
        taken.append(time.process_time() - began)
    return min(taken)
