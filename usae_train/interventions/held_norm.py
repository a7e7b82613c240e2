"""A norm between the stream and the read tokens: how an edit of the tokens reaches the stream.

The read tokens are then a copy, t = gain * (x - centre) + bias, where centre and gain come from each token x itself. An
edit of t by d moves the stream by d / gain, with the token's mean and scale held fixed. Through the same norm the
stream then reads as t + d, normed again: the read tokens cannot come nearer, for whatever is normed has one mean and
one spread.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from usae_train.interventions.layout import nearly_equal
from usae_train.runtime.errors import UsageError


class HeldNorm:
    """A norm over the width of each token: it centres and divides by the deviation, or divides by the root mean square.

    Its effect on tokens shows which of the two it is, if any; its class does not matter.

    Args:
        module: the network's own norm.
        stream: (..., width), tokens that it takes.
        normed: (..., width), its output for them.

    Raises:
        ValueError: for another module, or one that drops a feature, which then cannot be moved.
    """

    def __init__(self, module: nn.Module, stream: Tensor, normed: Tensor) -> None:
        self.module = module
        self._weight, self._eps = getattr(module, "weight", None), getattr(module, "eps", None)
        for self._centred in (True, False):
            if self._makes(stream, normed):
                break
        else:
            raise UsageError(f"its read tokens are a copy, made by a {type(module).__name__}")
        if self._weight is not None and bool((self._weight == 0).any()):
            raise UsageError("its read tokens are a normed copy, and that norm drops a feature")

    def gain(self, stream: Tensor) -> Tensor:
        """What a token's features are multiplied by: (..., width), for stream tokens (..., width)."""
        stream = stream.float()
        square = stream.var(-1, correction=0) if self._centred else stream.square().mean(-1)
        eps = torch.finfo(torch.float32).eps if self._eps is None else self._eps  # as torch's RMSNorm
        gain = (square + eps).rsqrt()[..., None]
        return gain.expand_as(stream) if self._weight is None else gain * self._weight

    def _makes(self, stream: Tensor, normed: Tensor) -> bool:
        if self._weight is not None and self._weight.shape != stream.shape[-1:]:
            return False
        centred = stream - stream.mean(-1, keepdim=True) if self._centred else stream
        bias = getattr(self.module, "bias", None)
        scaled = centred * self.gain(stream)
        return nearly_equal(scaled if bias is None else scaled + bias, normed)
