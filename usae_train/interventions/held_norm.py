"""A norm that the read tokens have gone through, and the stream has not: how an edit of the one reaches the other.

The read tokens are then a copy, t = gain * (x - centre) + bias, where centre and gain come from each token x itself. An
edit of t by d moves the stream by d / gain, with the token's mean and scale held as they were. Through the same norm
the stream then reads as t + d normed anew: nearer the read tokens cannot come, for what is normed has one mean and one
spread whatever is done to it.
"""

from __future__ import annotations

import torch
from timm.layers import RmsNorm
from torch import Tensor, nn


class HeldNorm:
    """A LayerNorm or RMSNorm over the width.

    Args:
        module: the network's own norm.

    Raises:
        ValueError: for a norm of another kind, or one that leaves out a feature: what is read of that cannot be moved.
    """

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, (nn.LayerNorm, nn.RMSNorm, RmsNorm)):
            raise ValueError(f"its read tokens are a copy, made by a {type(module).__name__}")
        if module.weight is not None and bool((module.weight == 0).any()):
            raise ValueError("its read tokens are a normed copy, and that norm leaves a feature out")
        self.module = module
        self._centred = isinstance(module, nn.LayerNorm)

    def gain(self, stream: Tensor) -> Tensor:
        """By what a token's features are multiplied: (..., width) of stream tokens (..., width)."""
        stream = stream.float()
        square = stream.var(-1, correction=0) if self._centred else stream.square().mean(-1)
        eps = torch.finfo(stream.dtype).eps if self.module.eps is None else self.module.eps
        gain = (square + eps).rsqrt()[..., None]
        return gain.expand_as(stream) if self.module.weight is None else gain * self.module.weight
