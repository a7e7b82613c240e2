"""Decorrelated colour: axes along which natural pictures vary independently (Olah et al. 2017, "preconditioning")."""

from __future__ import annotations

import torch
from torch import Tensor

from usae_train.runtime.transfers import to_device

# Square root of the colour covariance of ImageNet, as lucid has it (optvis/param/color.py),
# over its largest column norm, as there.
_SQRT_COVARIANCE = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
TO_RGB = _SQRT_COVARIANCE / _SQRT_COVARIANCE.norm(dim=0).max()
FROM_RGB = torch.linalg.inv(TO_RGB)
EDGE = 0.02  # a logit is taken of values no nearer to 0 and 1


def to_canvas(decorrelated: Tensor) -> Tensor:
    """(n, 3, H, W) in decorrelated logits -> canvas (n, 3, H, W), 0..1."""
    turn = to_device(TO_RGB.to(decorrelated.dtype), decorrelated.device)
    return torch.einsum("rc,nchw->nrhw", turn, decorrelated).sigmoid()


def from_canvas(canvas: Tensor) -> Tensor:
    """The inverse of `to_canvas`, for values within 0.02..0.98."""
    return torch.einsum("cr,nrhw->nchw", FROM_RGB.to(canvas), canvas.clamp(EDGE, 1 - EDGE).logit())
