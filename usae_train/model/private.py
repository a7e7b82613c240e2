"""Concepts that one backbone has for itself, beside those that all share: the last of the space, a range each.

Everywhere else they are concepts like any other: in the other backbones an encoder that no token can open and a row of
zeros stand in their place, so that codes, pre-codes and what is decoded need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

if TYPE_CHECKING:
    from usae_train.model.usae import USAE

# The pre-code, whatever the token, of what another backbone has for itself. Float16 holds it; minus infinity would be
# NaN in products with zero.
CLOSED = -1e4


@dataclass(frozen=True)
class PrivateConcepts:
    """Which concepts are whose.

    Attributes:
        names: the backbones.
        n_concepts: size of the space.
        ranges: {backbone: the concepts that it alone has}; those that have none are left out. They follow one another
            and end the space; what is before them all backbones share.

    Raises:
        ValueError: for ranges that are otherwise, of an unknown backbone, or that leave nothing to share.
    """

    names: Sequence[str]
    n_concepts: int
    ranges: Mapping[str, range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.ranges if name not in self.names]:
            raise UsageError(f"private concepts of {unknown[0]}; expected backbones of {', '.join(self.names)}")
        ranges = list(self.ranges.values())
        starts = [each.start for each in ranges]
        ends = [*starts[1:], self.n_concepts] if ranges else []
        if [each.stop for each in ranges] != ends or any(start >= end for start, end in zip(starts, ends, strict=True)):
            listed = ", ".join(f"{name} {each.start} to {each.stop}" for name, each in self.ranges.items())
            raise UsageError(
                f"private concepts are {listed}; expected ranges that follow one another and end at {self.n_concepts}"
            )
        if starts and starts[0] < 1:
            raise UsageError(
                f"private concepts are {self.n_concepts - starts[0]} of {self.n_concepts}; expected some that are "
                "left to share"
            )

    def __bool__(self) -> bool:
        return bool(self.ranges)

    @property
    def n_shared(self) -> int:
        """How many concepts all backbones have: the first ones."""
        return min((concepts.start for concepts in self.ranges.values()), default=self.n_concepts)

    def of(self, name: str) -> range:
        """The concepts that a backbone alone has.

        Raises:
            ValueError: for a space without private concepts, or a backbone that has none.
        """
        if name not in self.names:
            raise UsageError(f"unknown backbone {name!r}; this USAE has {', '.join(self.names)}")
        if not self:
            raise UsageError(
                "this USAE has no private concepts: all are shared by all backbones; usae-train fit --n-private trains "
                "one that has some"
            )
        if name not in self.ranges:
            raise UsageError(f"{name} has no concepts of its own; those that have some are {', '.join(self.ranges)}")
        return self.ranges[name]

    def owner(self, concept: int) -> str | None:
        """The one backbone that has a concept; None where all have it."""
        return next((name for name, concepts in self.ranges.items() if concept in concepts), None)

    def counts(self) -> dict[str, int]:
        """{backbone: how many concepts it has, shared ones and its own}."""
        return {name: self.n_shared + len(self.ranges.get(name, ())) for name in self.names}

    def matryoshka_fractions(self, fractions: Sequence[float]) -> tuple[float, ...]:
        """Shares of all concepts that must explain the tokens alone: these of the shared ones, and all shared ones.

        Without the last, what all could share is drained into private concepts.
        """
        share = self.n_shared / self.n_concepts
        return (*(share * fraction for fraction in fractions), share) if self else tuple(fractions)

    def in_words(self) -> str:
        """`160 shared; private: vit 160 to 191, dino 192 to 223`; empty where all are shared."""
        listed = ", ".join(f"{name} {concepts.start} to {concepts.stop - 1}" for name, concepts in self.ranges.items())
        return f"{self.n_shared} shared; private: {listed}" if self else ""

    def foreign(self, name: str) -> list[slice]:
        """The concepts that other backbones have for themselves: those before a backbone's own, and those behind."""
        private = self.ranges.get(name, range(self.n_concepts, self.n_concepts))
        around = slice(self.n_shared, private.start), slice(private.stop, self.n_concepts)
        return [each for each in around if each.start < each.stop]

    def is_foreign(self, name: str) -> Tensor:
        """(n_concepts,) bool: the concepts of `foreign`."""
        mask = torch.zeros(self.n_concepts, dtype=torch.bool)
        for each in self.foreign(name):
            mask[each] = True
        return mask


def private_ranges(names: Sequence[str], n_concepts: int, each: int) -> dict[str, range]:
    """{backbone: so many concepts of its own}, the last of a space, in the order of the backbones; {} for none.

    Raises:
        ValueError: when they leave no concept to share.
    """
    if each and each * len(names) >= n_concepts:
        raise UsageError(
            f"n_private is {each}, for each of {plural(len(names), 'backbone')}, of {n_concepts} concepts; expected "
            "some that are left to share"
        )
    first = n_concepts - each * len(names)
    return {name: range(first + each * row, first + each * (row + 1)) for row, name in enumerate(names)} if each else {}


@torch.no_grad()
def close_foreign(usae: USAE, names: Sequence[str] | None = None) -> None:
    """Close others' private concepts in these backbones (all by default) again, after weights were set.

    Rows become zero, so that such codes add nothing, and pre-codes `CLOSED` whatever the token.
    """
    for name in usae.names if names is None else names:
        for foreign in usae.private.foreign(name):
            for part, value in _parts(usae, name):
                part[foreign] = value


@torch.no_grad()
def leave_out_gradients(usae: USAE, names: Sequence[str]) -> None:
    """Take away these backbones' gradients for others' own concepts, which would count where gradients are clipped."""
    for name in names:
        for foreign in usae.private.foreign(name):
            for part, _ in _parts(usae, name):
                if part.grad is not None:
                    part.grad[foreign] = 0.0


def check_closed(usae: USAE, file: object) -> None:
    """Refuse weights of which a backbone makes something of another's own concepts; says which."""
    for name in usae.names:
        for foreign in usae.private.foreign(name):
            if any((part[foreign] != value).any() for part, value in _parts(usae, name)):
                raise UsageError(
                    f"{file} is broken: {name} has weights for concepts that are private to others by "
                    "config.json; save or copy the USAE again"
                )


def _parts(usae: USAE, name: str) -> list[tuple[Tensor, float]]:
    """What a backbone has a number or row of for each concept, and what it is for others' own."""
    encoder = usae.encoder(name)
    parts: list[tuple[Tensor, float]] = [(rows, 0.0) for rows in (encoder.linear.weight, *usae.decoder(name).changed)]
    if encoder.norm is None:
        return [*parts, (encoder.linear.bias, CLOSED)]
    assert encoder.norm.running_mean is not None
    zero = (encoder.linear.bias, encoder.norm.running_mean)
    return [*parts, *((weight, 0.0) for weight in zero), (encoder.norm.bias, CLOSED)]
