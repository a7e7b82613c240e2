"""The algebra of objectives: immutable callables that add, subtract, scale and are divided."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import FormerName
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.custom_score import ScoreFunction, checked_function, checked_score, is_custom

if TYPE_CHECKING:
    from torch import Tensor

Target = int | str | tuple[str, int]  # a concept, a backbone, a backbone's class
NameLookup = Callable[[str], int]  # of the concept or class that a name means


class Objective:
    """A score to be made large: `Activations` of one backbone -> (batch,). Adds, subtracts, scales; `/` takes numbers.

    Its text, `str(objective)`, is an expression that `parse_objective` reads back, unless a custom function is
    part of it.

    Args:
        function: the score.
        name: what it is called in a run's settings.
        concepts: the concepts it looks at, to be checked against the USAE before the first step. The attribute has
            those first that it asks for more of; the first is the one that pictures are verified for.
        backbones: the backbones it asks, by name; None for all of them, none for what looks at the picture alone.
        whole_batch: whether a picture's score depends on the other pictures of the same objective.
        needs_reference: whether it compares with a given picture (`Activations.reference`).
        minimized: those of `concepts`, `backbones` and `classes` that it asks for less of, and nowhere for more.
        classes: the classes it looks at, each with its backbone; checked and ordered as concepts are.
        bind: makes the objective of one that has a concept or class by its name, when its number is known; see `bound`.
        constants: {name: value} of numbers in its score that its text does not say and that were others in an earlier
            version: they are part of the key of what is drawn.

    Attributes:
        numbers: {name: its concept or class} of the names that `bound` gave numbers.
    """

    def __init__(
        self,
        function: ScoreFunction,
        name: str,
        concepts: Sequence[int] = (),
        backbones: Sequence[str] | None = None,
        whole_batch: bool = False,
        needs_reference: bool = False,
        minimized: Collection[Target] = (),
        classes: Sequence[tuple[str, int]] = (),
        bind: Callable[[NameLookup], Objective] | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        self._bind, self.numbers = bind, dict[str, int]()
        self._function = checked_function(function, name) if is_custom(function) else function
        self.name, self.minimized = name, frozenset(minimized)
        self.concepts = tuple(sorted(dict.fromkeys(concepts), key=self.minimized.__contains__))
        self.classes = tuple(sorted(dict.fromkeys(classes), key=self.minimized.__contains__))
        self.backbones = None if backbones is None else tuple(dict.fromkeys(backbones))
        self.whole_batch, self.needs_reference = whole_batch, needs_reference
        self.constants = dict(constants or {})

    @property
    def maximized(self) -> tuple[str, ...] | None:
        """The backbones in which it asks for more, not for less; None for all."""
        return self.backbones and (tuple(b for b in self.backbones if b not in self.minimized) or self.backbones)

    @property
    def classifies(self) -> frozenset[str]:
        """The backbones whose logits it asks for: they come from the same pass as the tokens."""
        return frozenset(backbone for backbone, _ in self.classes)

    @property
    def is_unbound(self) -> bool:
        """Whether it has a concept or class by its name, whose number is not known yet; see `bound`."""
        return self._bind is not None

    named = FormerName("is_unbound")

    def bound(self, number: NameLookup) -> Objective:
        """The same with its concepts' and classes' names as numbers; itself where it has none by name.

        Args:
            number: of the concept or class that a name means in the USAE that is drawn.
        """
        if self._bind is None:
            return self
        numbers = dict[str, int]()

        def remember(name: str) -> int:
            numbers[name] = number(name)
            return numbers[name]

        objective = self._bind(remember)
        objective.numbers = numbers
        return objective

    def through(self, backbones: Sequence[str]) -> Objective:
        """The same, asked of these backbones alone."""
        narrowed = copy(self)
        narrowed.backbones = tuple(backbones)
        return narrowed

    def __call__(self, acts: Activations) -> Tensor:
        return self._function(acts)

    def __repr__(self) -> str:
        return self.name

    def __add__(self, other: Objective | float) -> Objective:
        return self._combine(other, "+", lambda a, b: a + b)

    def __sub__(self, other: Objective | float) -> Objective:
        return self._combine(other, "-", lambda a, b: a - b)

    def __mul__(self, other: Objective | float) -> Objective:
        return self._combine(other, "*", lambda a, b: a * b)

    def __truediv__(self, other: float) -> Objective:
        if not _is_number(other):
            return NotImplemented
        if not 0 < abs(other) <= sys.float_info.max:  # NaN is in no range
            raise UsageError(f"objective {self} / {other}: expected a finite number that is not 0 to divide by")
        name = f"{_parenthesized(self.name)} / {_format_number(other)}"
        return self._copy(lambda acts: self(acts) / other, name, self._minimized_by(other), lambda bound: bound / other)

    def __radd__(self, other: float) -> Objective:
        return self if other == 0 else self + other  # so that `sum` works

    def __rsub__(self, other: float) -> Objective:
        return -self + other

    def __rmul__(self, other: float) -> Objective:
        if not _is_number(other):
            return NotImplemented
        name = f"{_format_number(other)} * {_parenthesized(self.name)}"
        return self._copy(lambda acts: other * self(acts), name, self._minimized_by(other), lambda bound: other * bound)

    def __neg__(self) -> Objective:
        return -1.0 * self

    def _combine(self, other: Objective | float, sign: str, join: Callable[[Any, Any], Any]) -> Objective:
        if not isinstance(other, Objective):
            if not _is_number(other):
                return NotImplemented  # type: ignore[no-any-return]  # for Python's operators, not for the caller
            minimized = self._minimized_by(other) if sign == "*" else self.minimized
            name = f"{_parenthesized(self.name) if sign == '*' else self.name} {sign} {_format_number(other)}"
            return self._copy(lambda acts: join(self(acts), other), name, minimized, lambda bound: join(bound, other))
        left, right = self.name, other.name
        if sign == "*":
            left, right = _parenthesized(left), _parenthesized(right)
        elif sign == "-":
            right = _parenthesized(right, "+-")
        backbones = None if self.backbones is None or other.backbones is None else self.backbones + other.backbones
        more, less = (other._maximized, other.minimized) if sign == "+" else (other.minimized, other._maximized)
        minimized = frozenset[Target]() if sign == "*" else (self.minimized | less) - self._maximized - more
        return Objective(
            lambda acts: join(self(acts), other(acts)),
            f"{left} {sign} {right}",
            concepts=self.concepts + other.concepts,
            backbones=backbones,
            whole_batch=self.whole_batch or other.whole_batch,
            needs_reference=self.needs_reference or other.needs_reference,
            minimized=minimized,
            classes=self.classes + other.classes,
            bind=(lambda number: join(self.bound(number), other.bound(number)))
            if self.is_unbound or other.is_unbound
            else None,
            constants=self.constants | other.constants,
        )

    @property
    def _maximized(self) -> frozenset[Target]:
        """The concepts, backbones and classes that it asks for more of."""
        return frozenset[Target]((*self.concepts, *(self.backbones or ()), *self.classes)) - self.minimized

    def _minimized_by(self, factor: float) -> frozenset[Target]:
        """What it asks for less of, times a number."""
        return self._maximized if factor < 0 else self.minimized

    def renamed(self, name: str) -> Objective:
        """The same under another name."""
        return self._copy(self, name, self.minimized, lambda bound: bound.renamed(name))

    def _copy(
        self, function: ScoreFunction, name: str, minimized: frozenset[Target], again: Callable[[Objective], Objective]
    ) -> Objective:
        """An objective made of this one alone; `again` makes the same of it once its names have numbers."""
        return Objective(
            function,
            name,
            concepts=self.concepts,
            backbones=self.backbones,
            whole_batch=self.whole_batch,
            needs_reference=self.needs_reference,
            minimized=minimized,
            classes=self.classes,
            bind=(lambda number: again(self.bound(number))) if self.is_unbound else None,
            constants=self.constants,
        )


def check_objective(value: object) -> None:
    """Raise a ValueError for what is not an objective, such as its number or its text."""
    if not isinstance(value, Objective):
        raise UsageError(
            f"objective {value!r}: expected one such as Concept(12); parse_objective reads a text, and "
            "@objective makes one of a function"
        )


def objective(function: ScoreFunction) -> Objective:
    """Make a custom objective from a function of `Activations` that returns (batch,).

    Example:
        >>> @objective
        ... def smooth(acts):
        ...     return -acts.canvas.diff(dim=-1).abs().mean(dim=(1, 2, 3))
        >>> 2 * smooth
        2 * smooth

    Raises:
        ValueError: for what cannot be called.
    """
    if not callable(function):
        raise UsageError(f"objective {function!r}: expected a function of `Activations` that returns (batch,)")
    return Objective(function, getattr(function, "__name__", "objective"))


def score(objective: Objective, acts: Activations) -> Tensor:
    """Call an objective and check what it returns.

    Raises:
        InvalidObjective: for a score that is not a tensor of shape (batch,), or of complex numbers.
        ValueError: for a comparison with a picture that is not given, or an objective of too many parts.
    """
    if objective.needs_reference and acts.reference is None:
        raise UsageError(f"objective {objective} compares with a picture; give one as `start` or `reference`")
    try:
        value = objective(acts)
    except RecursionError as error:
        raise UsageError(f"objective {str(objective)[:40]}... has too many parts; expected at most 100") from error
    return checked_score(value, str(objective), acts).to(acts.tokens)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format_number(number: float) -> str:
    """Short where six digits say it all, exact otherwise."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))


def _parenthesized(name: str, signs: str = "+-*/") -> str:
    """A name in parentheses where it is a sum (or product), at the outermost level."""
    depth = 0
    for place, letter in enumerate(name):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and place > 0 and letter in signs and name[place - 1] == " ":
            return f"({name})"
    return name
