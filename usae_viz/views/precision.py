"""What the backbones compute in."""

from __future__ import annotations

import torch
from torch import nn

from usae_train.backbones.backbone import Backbone
from usae_train.runtime.matrix_speed import multiplies_faster_in_bfloat16


def dtype_for(dtype: str, backbone: Backbone) -> torch.dtype:
    """What a backbone computes in, on its device.

    `auto` is bfloat16 on a GPU that has it; on a CPU that multiplies matrices faster in it, but for networks of grouped
    convolutions, which no processor that we measured runs faster so; else float32. Processor seconds of three views
    forward and backward in float32 and bfloat16 on a Xeon whose AMX is not to be used: EfficientNet-Lite0 (six views)
    0.23 and 0.35, ResNet-18 0.21 and 0.33, ConvNeXt-atto 0.11 and 0.15, ViT-S/14 0.79 and 1.18, ViT-B/16 1.76 and 3.02.
    An EPYC of Zen 4 has the ViT-B/16 faster in bfloat16.
    """
    if dtype != "auto":
        value: torch.dtype = getattr(torch, dtype)
        return value
    if backbone.mean.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in backbone.modules())
    return torch.bfloat16 if not grouped and multiplies_faster_in_bfloat16() else torch.float32
