"""Private concepts of single backbones, beside the shared ones: the last of the space, a range for each backbone.

They are concepts like any other: the other backbones have closed encoders and rows of zeros in their place, so that
codes, pre-codes and decoding need no special case.
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

# The pre-code of another backbone's private concepts, whatever the token. It fits into float16; minus infinity would be
# NaN in products with zero.
CLOSED = -1e4


@dataclass(frozen=True)
class PrivateConcepts:
    """Which concepts belong to which backbone.

    Attributes:
        names: the backbones.
        n_concepts: size of the space.
        ranges: {backbone: its private concepts}; backbones without any are left out. The ranges are adjacent and end
            the space; all backbones share the concepts before them.

    Raises:
        ValueError: for other ranges, an unknown backbone, or nothing left to share.
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
        """How many concepts all backbones share: the first ones."""
        return min((concepts.start for concepts in self.ranges.values()), default=self.n_concepts)

    def of(self, name: str) -> range:
        """A backbone's private concepts.

        Raises:
            ValueError: for a space or a backbone without private concepts.
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
        """The backbone to which a concept is private; None for a shared one."""
        return next((name for name, concepts in self.ranges.items() if concept in concepts), None)

    def counts(self) -> dict[str, int]:
        """{backbone: how many concepts it has, shared ones and its own}."""
        return {name: self.n_shared + len(self.ranges.get(name, ())) for name in self.names}

    def matryoshka_fractions(self, fractions: Sequence[float]) -> tuple[float, ...]:
        """Fractions of all concepts that must explain the tokens alone: these of the shared ones, and all shared ones.

        Without the last, private concepts take over what all could share.
        """
        share = self.n_shared / self.n_concepts
        return (*(share * fraction for fraction in fractions), share) if self else tuple(fractions)

    def in_words(self) -> str:
        """`160 shared; private: vit 160 to 191, dino 192 to 223`; empty where all are shared."""
        listed = ", ".join(f"{name} {concepts.start} to {concepts.stop - 1}" for name, concepts in self.ranges.items())
        return f"{self.n_shared} shared; private: {listed}" if self else ""

    def foreign(self, name: str) -> list[slice]:
        """The private concepts of other backbones: those before this backbone's own, and those after."""
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
    """{backbone: `each` private concepts}, the last of a space, in the order of the backbones; {} for none.

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
    """Close others' private concepts in these backbones (all by default), after weights were set.

    Rows become zero, so that their codes add nothing, and pre-codes become `CLOSED` for every token.
    """
    for name in usae.names if names is None else names:
        for foreign in usae.private.foreign(name):
            for part, value in _parts(usae, name):
                part[foreign] = value


@torch.no_grad()
def leave_out_gradients(usae: USAE, names: Sequence[str]) -> None:
    """Zero these backbones' gradients for others' private concepts, which would count when gradients are clipped."""
    for name in names:
        for foreign in usae.private.foreign(name):
            for part, _ in _parts(usae, name):
                if part.grad is not None:
                    part.grad[foreign] = 0.0


def check_closed(usae: USAE, file: object) -> None:
    """Refuse weights in which another backbone's private concepts are not closed; says which."""
    for name in usae.names:
        for foreign in usae.private.foreign(name):
            if any((part[foreign] != value).any() for part, value in _parts(usae, name)):
                raise UsageError(
                    f"{file} is broken: {name} has weights for concepts that are private to others by "
                    "config.json; save or copy the USAE again"
                )


def _parts(usae: USAE, name: str) -> list[tuple[Tensor, float]]:
    """A backbone's parameters with an entry per concept, and their values for others' private concepts."""
    encoder = usae.encoder(name)
    parts: list[tuple[Tensor, float]] = [(rows, 0.0) for rows in (encoder.linear.weight, *usae.decoder(name).changed)]
    if encoder.norm is None:
        return [*parts, (encoder.linear.bias, CLOSED)]
    assert encoder.norm.running_mean is not None
    zero = (encoder.linear.bias, encoder.norm.running_mean)
    return [*parts, *((weight, 0.0) for weight in zero), (encoder.norm.bias, CLOSED)]
