"""Objectives that compare with a given picture, seen under the same draws of the augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from usae_train.runtime.errors import UsageError
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective, check_objective
from usae_viz.objectives.arguments import format_call

if TYPE_CHECKING:
    from torch import Tensor

CLOSENESS = 5.0  # how much it weighs by default


class Closeness(Objective):
    """Minus the distance to the given picture in a backbone's tokens, as a share of their spread: at most 0.

    The regularizer of feature accentuation (Hamblin et al. 2024, arXiv 2402.10039, section 3): the picture is to stay
    what it was in latent space while a concept is raised. Zero is the same picture; minus one, as far from it as the
    picture's own tokens are from their mean.

    Example:
        >>> Concept = __import__("usae_viz").Concept
        >>> Concept(12) + 5 * Closeness()
        Concept(12) + 5 * Closeness()
    """

    def __init__(self) -> None:
        super().__init__(_closeness, "Closeness()", backbones=(), needs_reference=True)


class SameCodes(Objective):
    """Minus the squared difference of the codes to the given picture's, as a share of their square: inversion.

    The given picture's codes are after TopK; this picture's are after ReLU alone, so that every wanted concept has a
    gradient and every unwanted one that rises is pushed down (in the spirit of Mahendran and Vedaldi 2015).

    Args:
        backbones: the backbones whose codes count, or one; all by default.

    Example:
        >>> SameCodes(["dino"])
        SameCodes(['dino'])
    """

    def __init__(self, backbones: str | Sequence[str] = ()) -> None:
        names = _names(backbones)

        def same(acts: Activations) -> Tensor:
            if names and acts.backbone not in names:
                return acts.tokens.new_zeros(len(acts.tokens))
            assert acts.reference is not None
            codes = acts.reference.codes.dense(acts.usae.n_concepts).detach()
            difference = (acts.pre_codes.relu() - codes).square().sum((1, 2, 3))
            return -difference / codes.square().sum((1, 2, 3)).clamp_min(1e-12)

        name = format_call("SameCodes", *([names] if names else []))
        super().__init__(same, name, backbones=names or None, needs_reference=True)


def _names(backbones: Any) -> list[str]:
    """Names of backbones, or one, as a list."""
    given_names = [backbones] if isinstance(backbones, str) else backbones
    names: list[Any] = list(given_names) if isinstance(given_names, Iterable) else [given_names]
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"SameCodes of backbones {backbones!r}: expected their names, such as ['dino']")
    return names


def with_closeness(objective: Objective, closeness: float | None = None) -> Objective:
    """What accentuation makes large: an objective, and, by the weight of `Closeness`, that the picture stays close.

    Raises:
        ValueError: for a weight that is not a number or is below 0, or for what is not an objective.
    """
    check_objective(objective)
    weight = CLOSENESS if closeness is None else closeness
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < math.inf:
        raise UsageError(f"closeness is {weight!r}; expected a number from 0, which lets the picture change freely")
    return objective + weight * Closeness()


def _closeness(acts: Activations) -> Tensor:  # (batch,)
    assert acts.reference is not None
    tokens = acts.reference.tokens.detach()
    spread = (tokens - tokens.mean((1, 2), keepdim=True)).square().mean((1, 2, 3))
    return -(acts.tokens - tokens).square().mean((1, 2, 3)) / spread.clamp_min(1e-12)
