"""How far a backbone's features are from those of the pictures that it was trained on, by its batch norms.

A batch norm keeps the mean and the variance of each channel over the training pictures. What is optimized against a
network leaves them unless it is kept near them; so it is recognized by networks that took no part (Yin et al. 2020,
Dreaming to Distill, arXiv 1912.08795, its R_feature). Batch norms that are folded into their convolutions leave there
what a channel's mean and standard deviation are behind them: their bias, and the size of their weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Of a norm's mean: a channel that is all but constant would weigh more than all others together. It weighs at most 400
# times a mean one so; no other value was tried.
MIN_STD = 0.05
# How far a photograph is from the mean of all: four views each of 24 photographs have 0.28 over EfficientNet-Lite0's
# norms, 0.1 to 0.7 each. Pictures that were asked to come nearer (0.15) were all the same mixture of animals.
PHOTOGRAPH_DISTANCE = 0.25
# Of the last norm, beside 1 of the first: what is near its end means things, of which a picture shows its own, not all.
LAST_WEIGHT = 0.1


def keep_statistics(pairs: Iterable[tuple[nn.Module, nn.BatchNorm2d]]) -> None:
    """Keep what batch norms say of the channels behind them, where they are about to be folded into convolutions.

    Args:
        pairs: a convolution, and the norm that is folded into it.
    """
    for convolution, norm in pairs:
        natural = _of_norm(norm)
        if natural is not None and natural.has_scale:
            convolution.register_buffer("natural_mean", natural.mean.clone(), persistent=False)
            convolution.register_buffer("natural_std", natural.std.clone(), persistent=False)


def norms_with_statistics(model: nn.Module) -> list[nn.Module]:
    """The modules of a model that know the statistics of what they give.

    These are convolutions that a norm was folded into (`keep_statistics`), and `nn.BatchNorm2d` that stand by
    themselves, which are asked at each pass. A norm that has its activation inside, as timm's `BatchNormAct2d`, and
    could not be folded is not among them: what it gives is not what it knows.
    """
    return [
        module
        for module in model.modules()
        if hasattr(module, "natural_std") or (type(module) is nn.BatchNorm2d and module.running_mean is not None)
    ]


@contextmanager
def statistics_distances(model: nn.Module, n_pictures: int, most: int) -> Iterator[dict[nn.Module, Tensor]]:
    """Within it passes of views (n_pictures * views, 3, H, W) leave a distance (n_pictures,) per norm.

    A distance is the mean over channels of ((mean - natural mean) / natural std)^2 + (std / natural std - 1)^2, where a
    picture's means are over its views and their positions. A norm counts once: of several passes, its last one.

    Args:
        model: the network.
        n_pictures: how many pictures the views are of.
        most: features with more numbers per view are left out: a network has few, and they take most of the time.
    """
    distances: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, _: Any, features: Tensor) -> Tensor:
        if features[0].numel() > most:
            return features
        natural = _natural(module)
        features, mean, variance = _Moments.apply(features, n_pictures)
        of_mean = ((mean - natural.mean) / natural.std).square()
        of_std = ((variance.clamp_min(0) + 1e-8).sqrt() / natural.std - 1).square()
        distances[module] = (of_mean + of_std).mean(1) * natural.has_scale
        return features

    handles = [module.register_forward_hook(note) for module in norms_with_statistics(model)]
    try:
        yield distances
    finally:
        for handle in handles:
            handle.remove()


def unnaturalness(distances: Iterable[Tensor]) -> Tensor:
    """How much farther from the statistics than a photograph, (n_pictures,); of each norm's distances, in order.

    The mean over norms, of which later ones count less.
    """
    excess = (torch.stack(list(distances)) - PHOTOGRAPH_DISTANCE).clamp_min(0)
    weights = LAST_WEIGHT ** torch.linspace(0, 1, len(excess), device=excess.device)
    return (weights / weights.sum()) @ excess


class _Natural(NamedTuple):
    """What a batch norm says of the channels behind it."""

    mean: Tensor  # (channels,)
    std: Tensor  # (channels,), above zero
    has_scale: Tensor | bool = True  # False for a norm that scales all by nothing, as before training


def _natural(module: nn.Module) -> _Natural:
    """Of one of `norms_with_statistics`."""
    if isinstance(module, nn.BatchNorm2d):
        natural = _of_norm(module)
        assert natural is not None
        return natural
    return _Natural(module.natural_mean, module.natural_std)  # type: ignore[arg-type]  # tensors, see `keep_statistics`


def _of_norm(norm: nn.BatchNorm2d) -> _Natural | None:
    """As its weights are now; None for a norm that keeps no statistics. A GPU is not waited for."""
    if norm.running_mean is None:
        return None
    std = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight.detach().abs()
    mean = torch.zeros_like(std) if norm.bias is None else norm.bias.detach()
    has_scale = std.any()
    least = (MIN_STD * std.mean().double()).to(std.dtype)
    return _Natural(mean, torch.where(has_scale, torch.maximum(std, least), 1.0), has_scale)


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
