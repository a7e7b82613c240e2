"""Objectives: what is to be made large. Immutable callables that add, subtract and scale."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from usae_train.sparse import Codes, top_k
from usae_train.usae import USAE

Pool = Literal["mean", "max", "top", "centre"]
Of = Literal["pre_code", "code"]
TOP_SHARE = 0.25  # of the tokens, for pool="top"


class Activations:
    """What one backbone makes of a batch of pictures, worked out when asked for.

    Attributes:
        backbone: the backbone's name.
        canvas: (batch, 3, H, W), 0..1, as it will be saved.
        views: (batch, crop, 3, size, size), as the backbone was shown it.
        tokens: (batch, crop, token, width), in the backbone's own units.
        grid: (rows, cols) of the tokens.
    """

    def __init__(self, usae: USAE, backbone: str, canvas: Tensor, views: Tensor, tokens: Tensor) -> None:
        self.usae, self.backbone = usae, backbone
        self.canvas, self.views, self.tokens = canvas, views, tokens
        self.grid = usae.grid or (1, tokens.shape[-2])
        self._pre_codes: Tensor | None = None

    @property
    def pre_codes(self) -> Tensor:
        """(batch, crop, token, n_concepts), before ReLU and TopK."""
        if self._pre_codes is None:
            self._pre_codes = self.usae.pre_codes(self.backbone, self.tokens)
        return self._pre_codes

    @property
    def codes(self) -> Codes:
        """Codes of (batch, crop, token, k) values and indices."""
        return top_k(self.pre_codes, self.usae.k)

    def pre_code(self, concept: int) -> Tensor:
        """One concept's pre-code (batch, crop, token): one dot product a token, without the other concepts'."""
        if self._pre_codes is not None:
            return self._pre_codes[..., concept]
        return self.usae.readout(self.backbone, [concept])(self.tokens)[..., 0]


class Objective:
    """A score to be made large: `Activations` of one backbone -> (batch,). Adds, subtracts and scales.

    Args:
        function: the score.
        name: what it is called in a run's settings.
        concepts: the concepts it looks at, to be checked against the USAE before the first step.
    """

    def __init__(self, function: Callable[[Activations], Tensor], name: str, concepts: Sequence[int] = ()) -> None:
        self._function, self.name, self.concepts = function, name, tuple(concepts)

    def __call__(self, acts: Activations) -> Tensor:
        return self._function(acts)

    def __repr__(self) -> str:
        return self.name

    def __add__(self, other: Objective | float) -> Objective:
        if isinstance(other, Objective):
            return Objective(lambda acts: self(acts) + other(acts), f"{self} + {other}", self.concepts + other.concepts)
        if not isinstance(other, int | float):
            return NotImplemented
        return Objective(lambda acts: self(acts) + other, f"{self} + {other}", self.concepts)

    def __mul__(self, other: Objective | float) -> Objective:
        if isinstance(other, Objective):
            name = f"({self}) * ({other})"
            return Objective(lambda acts: self(acts) * other(acts), name, self.concepts + other.concepts)
        if not isinstance(other, int | float):
            return NotImplemented
        return Objective(lambda acts: self(acts) * other, f"{other} * ({self})", self.concepts)

    def __sub__(self, other: Objective | float) -> Objective:
        return self + other * -1.0

    def __rsub__(self, other: float) -> Objective:
        return self * -1.0 + other

    def __neg__(self) -> Objective:
        return self * -1.0

    __radd__ = __add__
    __rmul__ = __mul__


@dataclass(frozen=True)
class _ConceptScore:
    concept: int
    pool: Pool
    of: Of
    backbone: str | None

    def __call__(self, acts: Activations) -> Tensor:
        if self.backbone not in (None, acts.backbone):
            return acts.tokens.new_zeros(len(acts.tokens))
        values = acts.pre_code(self.concept) if self.of == "pre_code" else acts.codes.of(self.concept)
        return pool_tokens(values, self.pool, acts.grid).mean(1)


class Concept(Objective):
    """One concept's strength, over all tokens and crops.

    Args:
        k: the concept's index.
        pool: over an image's tokens: `mean`, `max`, `top` (mean of the strongest quarter) or `centre`.
        of: `pre_code` (has a gradient everywhere) or `code` (zero where TopK drops the concept).
        backbone: count this backbone only; all unless told.

    Raises:
        ValueError: for a pool, an `of` or a concept that cannot be.

    Example:
        >>> Concept(412) - 0.5 * Concept(7)
        Concept(412) + -1.0 * (0.5 * (Concept(7)))
    """

    def __init__(self, k: int, pool: Pool = "mean", of: Of = "pre_code", backbone: str | None = None) -> None:
        try:
            k = operator.index(k)  # numpy's and torch's whole numbers too
        except TypeError as error:
            raise ValueError(f"concept {k!r}: expected a whole number >= 0") from error
        if k < 0:
            raise ValueError(f"concept {k!r}: expected a whole number >= 0")
        if pool not in get_args(Pool):
            raise ValueError(f"pool {pool!r}: expected one of {', '.join(get_args(Pool))}")
        if of not in get_args(Of):
            raise ValueError(f"of={of!r}: expected one of {', '.join(get_args(Of))}")
        extras = [f"pool={pool!r}"] * (pool != "mean") + [f"of={of!r}"] * (of != "pre_code")
        extras += [f"backbone={backbone!r}"] * (backbone is not None)
        super().__init__(_ConceptScore(k, pool, of, backbone), f"Concept({', '.join([str(k), *extras])})", [k])


def objective(function: Callable[[Activations], Tensor]) -> Objective:
    """Make an objective of one's own from a function of `Activations` that returns (batch,).

    Example:
        >>> @objective
        ... def smooth(acts):
        ...     return -acts.canvas.diff(dim=-1).abs().mean(dim=(1, 2, 3))
        >>> 2 * smooth
        2 * (smooth)
    """
    return Objective(function, getattr(function, "__name__", "objective"))


def pool_tokens(values: Tensor, pool: Pool, grid: tuple[int, int]) -> Tensor:
    """(batch, crop, token) -> (batch, crop)."""
    if pool == "mean":
        return values.mean(-1)
    if pool == "max":
        return values.amax(-1)
    if pool == "top":
        return values.topk(max(1, round(TOP_SHARE * values.shape[-1])), dim=-1).values.mean(-1)
    rows, cols = grid
    middle = values.unflatten(-1, grid)[..., (rows - 1) // 2 : rows // 2 + 1, (cols - 1) // 2 : cols // 2 + 1]
    return middle.mean((-1, -2))


def score(objective: Objective, acts: Activations) -> Tensor:
    """Call an objective and check what it returns.

    Raises:
        ValueError: for a score that is no tensor of shape (batch,).
    """
    value = objective(acts)
    if not isinstance(value, torch.Tensor) or value.shape != (len(acts.canvas),):
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"objective {objective} returned {shape}; expected one score a picture, ({len(acts.canvas)},)")
    return value
