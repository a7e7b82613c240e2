"""Objectives on a backbone itself, without the USAE: a direction of its tokens, a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from usae_train.files.whole_numbers import at_least
from usae_train.runtime.errors import UsageError
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.arguments import check_backbone, check_choice, format_call
from usae_viz.objectives.pooling import Pool, pool_tokens

if TYPE_CHECKING:
    from torch import Tensor


class Direction(Objective):
    """How far a backbone's tokens point along a direction: their dot product with its unit vector.

    Args:
        backbone: the backbone's name.
        vector: (width,), of any length but zero; a dictionary's atom, a probe's weights, a difference of means.
        pool: over an image's tokens, as in `Concept`.

    Raises:
        ValueError: for what is not a vector, is zero or has numbers that are not finite; for an unknown pool.

    Example:
        >>> import usae_train as ut, usae_viz as uv
        >>> usae = ut.load("demo")
        >>> atom = Direction("vit", usae.dictionary("vit")[3])
        >>> uv.maximize(usae, atom, steps=2, views=1).images.keys()
        dict_keys(['vit'])
    """

    def __init__(self, backbone: str, vector: Tensor | Sequence[float], pool: Pool = "mean") -> None:
        from usae_train.runtime.transfers import to_device

        check_backbone(backbone)
        check_choice(pool, get_args(Pool), "pool ")
        numbers, direction = _direction(backbone, vector)

        def share(acts: Activations) -> Tensor:
            if acts.backbone != backbone:
                return acts.tokens.new_zeros(len(acts.tokens))
            if len(direction) != acts.tokens.shape[-1]:
                raise UsageError(
                    f"Direction: {len(direction)} numbers; {backbone}'s tokens have {acts.tokens.shape[-1]}"
                )
            along = to_device(direction.to(acts.tokens.dtype), acts.tokens.device)
            return pool_tokens(acts.tokens @ along, pool, acts.grid).mean(1)

        super().__init__(share, format_call("Direction", backbone, numbers, pool=(pool, "mean")), backbones=[backbone])


def _direction(backbone: str, vector: Tensor | Sequence[float]) -> tuple[list[float], Tensor]:
    """A direction's numbers as its text has them, so that it can be drawn again; the unit vector of these."""
    import torch

    from usae_train.runtime.torch_defaults import use_torch_defaults

    with use_torch_defaults():
        try:
            direction = torch.as_tensor(vector).detach().float()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"Direction: expected numbers for {backbone!r}: {error}") from error
        if direction.ndim != 1 or not direction.norm().isfinite() or direction.norm() == 0:
            raise UsageError(f"Direction: expected a vector (width,) that is finite and not zero, for {backbone!r}")
        numbers = [float(f"{x:.6g}") for x in direction.tolist()]
        rounded = torch.tensor(numbers)
        return numbers, rounded / rounded.norm()


class Channel(Objective):
    """One channel of a backbone's tokens.

    Args:
        backbone: the backbone's name.
        index: the channel, 0 <= index < width.
        pool: over an image's tokens, as in `Concept`.

    Raises:
        ValueError: for a channel that the backbone does not have, or an unknown pool.

    Example:
        >>> Channel("dino", 7, pool="max")
        Channel('dino', 7, pool='max')
    """

    def __init__(self, backbone: str, index: int, pool: Pool = "mean") -> None:
        check_backbone(backbone)
        index = at_least(0, index, "channel")
        check_choice(pool, get_args(Pool), "pool ")

        def channel(acts: Activations) -> Tensor:
            if acts.backbone != backbone:
                return acts.tokens.new_zeros(len(acts.tokens))
            if index >= acts.tokens.shape[-1]:
                raise UsageError(f"no channel {index}; {backbone}'s tokens have {acts.tokens.shape[-1]}")
            return pool_tokens(acts.tokens[..., index], pool, acts.grid).mean(1)

        super().__init__(channel, format_call("Channel", backbone, index, pool=(pool, "mean")), backbones=[backbone])
