"""How far a backbone's features are from those of the pictures that it was trained on, by its batch norms.

A batch norm keeps the mean and the variance of each channel over the training pictures. What is optimized against a
network leaves them unless it is held to them; held, it is recognized by networks that took no part (Yin et al. 2020,
Dreaming to Distill, arXiv 1912.08795, its R_feature). Batch norms that are folded into their convolutions leave there
what a channel's mean and standard deviation are behind them: their bias, and the size of their weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Of a norm's mean: a channel that is all but constant would weigh more than all others together. It weighs at most 400
# times a mean one so; no other value was tried.
LEAST_STD = 0.05


def keep_statistics(places: Iterable[tuple[nn.Module, nn.BatchNorm2d]]) -> None:
    """Keep what batch norms say of the channels behind them.

    Args:
        places: modules that give what a norm gives: the convolution that it is folded into, or itself; and the norm.
    """
    for module, norm in places:
        if norm.running_mean is None:
            continue
        std = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight.detach().abs()
        if not std.any():  # before training, at the end of a residual branch: nothing comes from it
            continue
        mean = torch.zeros_like(std) if norm.bias is None else norm.bias.detach().clone()
        module.register_buffer("natural_mean", mean, persistent=False)
        module.register_buffer("natural_std", std.clamp_min(LEAST_STD * std.mean().item()), persistent=False)


def unfolded(model: nn.Module) -> list[tuple[nn.Module, nn.BatchNorm2d]]:
    """The batch norms of a model that stand by themselves, for `keep_statistics`; not those with an activation."""
    return [(norm, norm) for norm in model.modules() if type(norm) is nn.BatchNorm2d]


def with_statistics(model: nn.Module) -> list[nn.Module]:
    """The modules of a model that know the statistics of what they give."""
    return [module for module in model.modules() if hasattr(module, "natural_std")]


@contextmanager
def distances_from_natural(model: nn.Module, n_pictures: int, most: int) -> Iterator[list[Tensor]]:
    """Within it each pass of views (n_pictures * views, 3, H, W) adds a distance (n_pictures,) a norm.

    A distance is the mean over channels of ((mean - natural mean) / natural std)^2 + (std / natural std - 1)^2, where a
    picture's means are over its views and their positions.

    Args:
        model: the network, with `keep_statistics`.
        n_pictures: how many pictures the views are of.
        most: features of more numbers a view are left out: a network has few of them, and they take most of the time.
    """
    distances: list[Tensor] = []

    def note(module: nn.Module, _: Any, features: Tensor) -> Tensor:
        if features[0].numel() > most:
            return features
        natural_mean, natural_std = module.natural_mean, module.natural_std
        features, mean, variance = _Moments.apply(features, n_pictures)
        of_mean = ((mean - natural_mean) / natural_std).square()
        of_std = ((variance.clamp_min(0) + 1e-8).sqrt() / natural_std - 1).square()
        distances.append((of_mean + of_std).mean(1))
        return features

    handles = [module.register_forward_hook(note) for module in with_statistics(model)]
    try:
        yield distances
    finally:
        for handle in handles:
            handle.remove()


class _Moments(torch.autograd.Function):
    """Features (n_pictures * views, C, H, W) as they are, and the mean and variance (n_pictures, C) of each channel.

    By hand: what autograd makes of `var_mean` takes 2.8 times a pass without.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, n_pictures: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = features.movedim(1, -1).reshape(n_pictures, -1, features.shape[1]).float()
        mean = rows.mean(1)
        ctx.save_for_backward(features, mean)
        # a copy: activations after it may work in place, and the features are needed on the way back
        return features.clone(), mean, rows.square().mean(1) - mean.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        features, mean = ctx.saved_tensors
        onward, of_mean, of_variance = gradients
        positions = features.numel() / mean.numel()
        slope = 2 * of_variance / positions
        rise = of_mean / positions - slope * mean

        def spread(rows: Tensor) -> Tensor:
            return rows.to(features.dtype).repeat_interleave(len(features) // len(mean), 0)[:, :, None, None]

        return torch.addcmul(onward, features, spread(slope)).add_(spread(rise)), None
