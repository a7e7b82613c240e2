"""BatchNorm over the batch of all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from usae_train.model.usae import USAE
from usae_train.runtime.distributed import DistributedContext, mean_over_ranks


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm over the parts of all ranks, weighted by their sizes; torch's own runs only on GPUs.

    Args:
        norm: whose parameters and running statistics it takes over.
        ranks: who has the other parts.
    """

    def __init__(self, norm: nn.BatchNorm1d, ranks: DistributedContext) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.ranks = ranks
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values, weight, count = input.float(), self.ranks.weight, self.ranks.world_size
        mean = _mean_with_gradient(values.mean(0) * weight, count)
        variance = _mean_with_gradient((values - mean).square().mean(0) * weight, count)
        with torch.no_grad():
            rows = mean_over_ranks(values.new_tensor(len(values) if weight else 0), count) * count
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * rows / (rows - 1), self.momentum)
            self.num_batches_tracked += 1
        return ((values - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias).to(input.dtype)


class _Mean(torch.autograd.Function):
    """A mean over ranks that gradients pass: the gradient of each rank's value is the mean of all ranks'."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int) -> Tensor:
        ctx.count = count
        return mean_over_ranks(value, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return mean_over_ranks(gradients[0], ctx.count), None


def _mean_with_gradient(value: Tensor, count: int) -> Tensor:
    mean: Tensor = _Mean.apply(value, count)
    return mean


def share_statistics(usae: USAE, ranks: DistributedContext) -> None:
    """Let every BatchNorm take its mean and variance from the whole batch instead of this rank's part.

    Calling it again with ranks of other weights replaces them.
    """
    if ranks.world_size == 1:
        return
    for name in usae.names:
        encoder = usae.encoder(name)
        if isinstance(encoder.norm, SharedBatchNorm):
            encoder.norm.ranks = ranks
        elif encoder.norm is not None:
            encoder.norm = SharedBatchNorm(encoder.norm, ranks)
