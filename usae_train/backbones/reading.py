"""Warnings where a backbone's layer is not read as one would expect.

No model's name is asked: which parameters take part in a pass shows what is left out. Seen in timm 1.0.31: a norm that
`norm: true` does not reach, for it comes in the head (71 architectures' `fc_norm`, ConvNeXt's `head.norm`); a last
layer that more follows (EfficientNet's convolution, XCiT's class attention); layers that take no norm (Hiera).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from usae_train.backbones.spec import BackboneSpec

FINAL_NORMS = ("norm", "fc_norm", "head.norm")  # where timm's networks have their last one


def not_square_warning(spec: BackboneSpec, size: tuple[int, int]) -> list[str]:
    """A warning for a model whose own input size (rows, cols) is not square, where the spec gives none."""
    if spec.input_size is not None or size[0] == size[1]:
        return []
    return [
        f"{spec.model!r} is made for pictures of {size[0]} x {size[1]} px, and pictures here are square: it sees "
        f"{size[1]} x {size[1]} px, unless `input_size` says another side"
    ]


def unused_norm_warning(model: nn.Module, spec: BackboneSpec, applied: bool, unused: Collection[str]) -> list[str]:
    """A warning where `norm: true` changes nothing, though the model has a last norm.

    Args:
        model: timm's.
        spec: how it is read.
        applied: whether the model took the norm that it was asked for.
        unused: names of parameters that took no part when the layer was read.
    """
    if not spec.norm or spec.site in ("attention", "mlp"):
        return []
    if not applied:
        return [f"{spec.model!r} applies no norm to its layers: {spec.place} is read as with `norm: false`"]
    norms = [name for name, module in model.named_modules() if name in FINAL_NORMS and _is_unused(name, module, unused)]
    if not norms:
        return []
    return [
        f"`norm: true` changes nothing at {spec.place} of {spec.model!r}, which is read as it is: the model's "
        f"norm, `{norms[0]}`, comes later"
    ]


def not_last_warning(model: nn.Module, spec: BackboneSpec, read: Tensor, picture: Tensor) -> list[str]:
    """A warning where the last layer is not what the model's `forward_features` gives.

    Args:
        model: timm's.
        spec: how it is read.
        read: the layer's features of a picture, (1, width, rows, cols).
        picture: (1, 3, rows, cols), normalized.
    """
    if spec.layer != -1 or spec.site != "block":
        return []
    features = model.forward_features(picture)  # type: ignore[operator]  # timm's own method
    if not isinstance(features, Tensor):
        return [f"layer -1 of {spec.model!r} is one of several features that its `forward_features` gives"]
    if _shows(features, read, getattr(model, "num_prefix_tokens", 0)):
        return []
    return [f"layer -1 of {spec.model!r} is not what its `forward_features` gives: more follows in the model"]


def forget_caches(model: nn.Module, _: object = None) -> None:
    """Let a model compute anew what it keeps of its weights, once they are others.

    The attentions of LeViT, TinyViT, EfficientFormer (both) and EfficientViT keep their biases as they were at the
    first pass in evaluation, until they are put into training.
    """
    model.train()
    model.eval()


def _is_unused(name: str, module: nn.Module, unused: Collection[str]) -> bool:
    parameters = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
    return bool(parameters) and all(parameter in unused for parameter in parameters)


def _shows(features: Tensor, read: Tensor, prefix: int) -> bool:
    """Whether features as a model lays them out (NLC, NHWC or NCHW) are those of a layer (1, width, rows, cols)."""
    tokens = read.flatten(2).mT
    laid_out = [features[:, prefix:]] if features.ndim == 3 else [features.flatten(1, 2), features.flatten(2).mT]
    return any(each.shape == tokens.shape and torch.allclose(each, tokens, rtol=1e-3, atol=1e-4) for each in laid_out)
