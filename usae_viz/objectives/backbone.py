"""Objectives on a backbone itself, without the USAE: a direction of its tokens, a channel, a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import Tensor

from usae_train.runtime.errors import UsageError
from usae_train.runtime.transfers import to_device
from usae_train.runtime.undisturbed import undisturbed
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.concept import Pool, check_choice, format_call, pool_tokens, whole_number


class Direction(Objective):
    """How far a backbone's tokens point along a direction: their dot product with its unit vector.

    Args:
        backbone: the backbone's name.
        vector: (width,), of any length but zero; a dictionary's atom, a probe's weights, a difference of means.
        pool: over an image's tokens, as in `Concept`.

    Raises:
        ValueError: for a vector that is none, is zero or has numbers that are not finite; for a pool that cannot be.

    Example:
        >>> import usae_train as ut, usae_viz as uv
        >>> usae = ut.load("demo")
        >>> atom = Direction("vit", usae.dictionary("vit")[3])
        >>> uv.maximize(usae, atom, steps=2, views=1).images.keys()
        dict_keys(['vit'])
    """

    @undisturbed
    def __init__(self, backbone: str, vector: Tensor | Sequence[float], pool: Pool = "mean") -> None:
        check_choice(pool, get_args(Pool), "pool ")
        try:
            direction = torch.as_tensor(vector).detach().float()
        except (TypeError, ValueError) as error:
            raise UsageError(f"Direction: expected numbers for {backbone!r}: {error}") from error
        if direction.ndim != 1 or not direction.norm().isfinite() or direction.norm() == 0:
            raise UsageError(f"Direction: expected a vector (width,) that is finite and not zero, for {backbone!r}")
        listed = [float(f"{x:.6g}") for x in direction.tolist()]
        direction = torch.tensor(listed)  # as its text has it, so that a picture of it can be drawn again
        length = direction.norm()

        def share(acts: Activations) -> Tensor:
            if acts.backbone != backbone:
                return acts.tokens.new_zeros(len(acts.tokens))
            if len(direction) != acts.tokens.shape[-1]:
                raise UsageError(
                    f"Direction: {len(direction)} numbers; {backbone}'s tokens have {acts.tokens.shape[-1]}"
                )
            along = to_device((direction / length).to(acts.tokens.dtype), acts.tokens.device)
            return pool_tokens(acts.tokens @ along, pool, acts.grid).mean(1)

        super().__init__(share, format_call("Direction", backbone, listed, pool=(pool, "mean")), backbones=[backbone])


class Channel(Objective):
    """One channel of a backbone's tokens.

    Args:
        backbone: the backbone's name.
        index: the channel, 0 <= index < width.
        pool: over an image's tokens, as in `Concept`.

    Raises:
        ValueError: for a channel that the backbone does not have, or a pool that cannot be.

    Example:
        >>> Channel("dino", 7, pool="max")
        Channel('dino', 7, pool='max')
    """

    def __init__(self, backbone: str, index: int, pool: Pool = "mean") -> None:
        index = whole_number(index, "channel")
        check_choice(pool, get_args(Pool), "pool ")

        def channel(acts: Activations) -> Tensor:
            if acts.backbone != backbone:
                return acts.tokens.new_zeros(len(acts.tokens))
            if index >= acts.tokens.shape[-1]:
                raise UsageError(f"no channel {index}; {backbone}'s tokens have {acts.tokens.shape[-1]}")
            return pool_tokens(acts.tokens[..., index], pool, acts.grid).mean(1)

        super().__init__(channel, format_call("Channel", backbone, index, pool=(pool, "mean")), backbones=[backbone])


class Logit(Objective):
    """A class logit of a backbone that kept its classifier (`classes` in its spec).

    Args:
        backbone: the backbone's name.
        index: the class.

    Raises:
        ValueError: for a class that the classifier does not have, or a backbone without one.

    Example:
        >>> Logit("vit", 207) - 0.1 * Logit("vit", 208)
        Logit('vit', 207) - 0.1 * Logit('vit', 208)
    """

    def __init__(self, backbone: str, index: int) -> None:
        index = whole_number(index, "class")
        super().__init__(
            _class_score(backbone, index, lambda logits: logits[..., index]),
            format_call("Logit", backbone, index),
            backbones=[backbone],
            classes=[(backbone, index)],
        )


class LogProbability(Objective):
    """The logarithm of a class's probability, in a backbone that kept its classifier (`classes` in its spec).

    A logit alone may rise with those of other classes; this asks that they fall. The sum of both is what networks that
    took no part recognize best (tests/benchmarks/real_reader.py).

    Args:
        backbone: the backbone's name.
        index: the class.

    Raises:
        ValueError: for a class that the classifier does not have, or a backbone without one.

    Example:
        >>> Logit("lite0", 483) + LogProbability("lite0", 483)
        Logit('lite0', 483) + LogProbability('lite0', 483)
    """

    def __init__(self, backbone: str, index: int) -> None:
        index = whole_number(index, "class")
        super().__init__(
            _class_score(backbone, index, lambda logits: logits.log_softmax(-1)[..., index]),
            format_call("LogProbability", backbone, index),
            backbones=[backbone],
            classes=[(backbone, index)],
        )


def _class_score(backbone: str, index: int, of_logits: Callable[[Tensor], Tensor]) -> Callable[[Activations], Tensor]:
    """A score (batch,) of a class: what a function makes of logits (batch, view, class), over the views."""

    def score(acts: Activations) -> Tensor:
        if acts.backbone != backbone:
            return acts.tokens.new_zeros(len(acts.tokens))
        if index >= acts.logits.shape[-1]:
            raise UsageError(f"no class {index}; {backbone}'s classifier has {acts.logits.shape[-1]}")
        return of_logits(acts.logits).mean(1)

    return score
