"""Objectives in words: `Concept(412) - 0.5 * Concept(7)`, as recipes and the command line take them.

Nothing is evaluated: the text is parsed to Python's syntax tree, of which only numbers, strings, lists, `+ - * /` and
calls of the objectives by name are allowed.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable
from typing import Any

from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.importing import names_custom_code
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.backbone import Channel, Direction
from usae_viz.objectives.classes import Class, Logit, LogProbability
from usae_viz.objectives.closeness import Closeness, SameCodes
from usae_viz.objectives.concept import Concept
from usae_viz.objectives.pictures import L2, Diversity, TotalVariation

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    kind.__name__: kind
    for kind in (
        Concept,
        Direction,
        Channel,
        Class,
        Logit,
        LogProbability,
        TotalVariation,
        L2,
        Diversity,
        Closeness,
        SameCodes,
    )
}
MAX_CHARACTERS = 100_000  # characters; a direction of 1024 numbers takes a tenth


def parse_objective(text: str) -> Objective:
    """Read an objective.

    Args:
        text: such as `Concept(12) - 0.5 * Concept(7)` or `Channel("dino", 3, pool="max") - TotalVariation()`.

    Raises:
        ValueError: for an unknown name (with the nearest), wrong arguments, or anything that is not an objective.

    Example:
        >>> parse_objective("Concept(12) - 0.5 * (Concept(7) + L2())")
        Concept(12) - 0.5 * (Concept(7) + L2())
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"an objective of {len(text)} characters; expected at most {MAX_CHARACTERS}")
    if names_custom_code(text):
        raise UsageError(
            f"objective {_short(text)!r} is code of your own, which a recipe draws: name it there under `objectives`, "
            "then usae-viz render RECIPE --allow-code; in Python @usae_viz.objective makes one"
        )
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise UsageError(f"objective {_short(text)!r} cannot be read; expected e.g. Concept(12) - L2()") from error
    if not isinstance(value, Objective):
        raise UsageError(f"objective {_short(text)!r} is {value!r}; expected e.g. Concept(12) - 0.5 * Concept(7)")
    return value


def _value(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() as value) if not isinstance(value, bool):
            return value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part, text) for part in parts]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number_or_objective(_value(operand, text), text)
        case ast.BinOp(left=left, op=(ast.Add() | ast.Sub() | ast.Mult() | ast.Div()) as sign, right=right):
            a, b = (_number_or_objective(_value(side, text), text) for side in (left, right))
            if isinstance(sign, ast.Div):
                return _divided(a, b, text)
            return a + b if isinstance(sign, ast.Add) else a - b if isinstance(sign, ast.Sub) else a * b
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return _call(name, [_value(a, text) for a in args], {k.arg: _value(k.value, text) for k in keywords}, text)
        case ast.Name(id=name) if name in OBJECTIVES:
            raise UsageError(f"objective {_short(text)!r}: {name} has to be called, such as Concept(12) or L2()")
        case ast.Name(id=name):
            raise UsageError(f"objective {_short(text)!r}: {name!r} is neither a number nor an objective{_near(name)}")
    raise UsageError(
        f"objective {_short(text)!r}: {_short(ast.unparse(node))!r} is not allowed; expected numbers, + - * / and "
        f"{', '.join(OBJECTIVES)}"
    )


def _call(name: str, values: list[Any], settings: dict[str | None, Any], text: str) -> Objective:
    if name not in OBJECTIVES:
        raise UsageError(f"objective {_short(text)!r}: unknown name {name!r}{_near(name)}")
    try:
        arguments = inspect.signature(OBJECTIVES[name]).bind(*values, **settings)  # type: ignore[arg-type]  # None of `**`
    except TypeError as error:
        raise UsageError(f"objective {_short(text)!r}: {name} cannot be made of these arguments: {error}") from error
    return OBJECTIVES[name](*arguments.args, **arguments.kwargs)


def _divided(value: Any, by: Any, text: str) -> Any:
    if isinstance(by, Objective) or by == 0:
        raise UsageError(f"objective {_short(text)!r}: cannot divide by {_short(str(by))}; expected a number, not 0")
    return value / by


def _number_or_objective(value: Any, text: str) -> Any:
    if not isinstance(value, int | float | Objective):
        raise UsageError(f"objective {_short(text)!r}: {value!r} cannot be added or scaled")
    return value


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.capitalize(), OBJECTIVES, n=1) or difflib.get_close_matches(name, OBJECTIVES)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(OBJECTIVES)}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
