"""What training may change of a backbone's encoder and dictionary, and how its gradients are clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from usae_train.model.usae import USAE
from usae_train.training.settings import TrainingRecipe


def clip_gradients(
    usae: USAE,
    names: Sequence[str],
    recipe: TrainingRecipe,
    optimizers: Mapping[str, torch.optim.Optimizer],
    norms: Tensor,
    read_norms: Sequence[float],
) -> list[str]:
    """Have each pair's optimizer scale its gradients down to `recipe.max_grad_norm`; shorter ones are not touched.

    Args:
        usae: the model, with gradients.
        names: the pairs.
        recipe: has the bound.
        optimizers: {name: optimizer}, those of all pairs.
        norms: (names,) `gradient_norms`.
        read_norms: the same numbers, read from the device.

    Returns:
        The backbones whose gradient is not finite; with one of them a step would ruin the weights.
    """
    # torch's clip_grad_norm_ multiplies by clip / (norm + 1e-6), in a pass of its own over all gradients; a fused
    # optimizer divides by this while it takes the step, as with torch.amp.GradScaler (19.5 ms, not 23; one thread)
    takes_scale = norms.device.type != "mps"  # until pytorch's #186360, of June 2026
    for name, scale, norm in zip(names, (norms + 1e-6) / recipe.max_grad_norm, read_norms, strict=True):
        optimizers[name].grad_scale = scale if norm > recipe.max_grad_norm and takes_scale else None  # type: ignore[attr-defined]
        if norm > recipe.max_grad_norm and not takes_scale:
            torch._foreach_div_(gradients_of(usae, name, recipe), scale)
    return [name for name, norm in zip(names, read_norms, strict=True) if not math.isfinite(norm)]


def gradient_norms(usae: USAE, names: Sequence[str], recipe: TrainingRecipe) -> Tensor:
    """(names,): the norm of each pair's gradients, taken as one vector."""
    return torch.stack([gradient_norm(gradients_of(usae, name, recipe)) for name in names])


def gradients_of(usae: USAE, name: str, recipe: TrainingRecipe) -> list[Tensor]:
    """The gradients of what training may change of a pair."""
    return [parameter.grad for parameter in trained_parameters(usae, name, recipe) if parameter.grad is not None]


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm, a scalar, of all these gradients (..., width) as one vector.

    Row by row: of 6144 x 768 random numbers at once torch's float32 norm is wrong by 1e-4 and more, by rows by 1e-7,
    and with two threads that takes 4.4 ms of 6 such gradients instead of 7.3.
    """
    return nn.utils.get_total_norm([torch.linalg.vector_norm(gradient, dim=-1) for gradient in gradients])


def trained_parameters(usae: USAE, name: str, recipe: TrainingRecipe) -> list[nn.Parameter]:
    """A pair's parameters that training may change; the published recipe trains no offset, and one control no atoms."""
    dictionary = usae.decoder(name)
    atoms = [] if recipe.frozen else dictionary.changed
    offset = [dictionary.offset] if recipe.offset else []
    return [*usae.encoder(name).parameters(), *atoms, *offset, *learned_thresholds(usae, name)]


def learned_thresholds(usae: USAE, name: str) -> list[nn.Parameter]:
    """A backbone's thresholds, where they have gradients."""
    return [usae.thresholds[name]] if usae.sparsity.threshold_rate is not None else []
