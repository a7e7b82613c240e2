"""What the kinds of objectives have in common: checks of arguments, how they are written, names without a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from usae_train.runtime.errors import UsageError
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.custom_score import ScoreFunction

if TYPE_CHECKING:
    from torch import Tensor


def unbound(kind: str, name: str) -> ScoreFunction:
    """The score of a concept or class by its name, before it has a number: an error."""

    def scored(acts: Activations) -> Tensor:  # noqa: ARG001
        raise UsageError(f"{kind} {name!r} has no number yet: `maximize` looks it up, or give a number")

    return scored


def check_backbone(name: Any) -> None:
    """Raise a ValueError for what is not a backbone's name."""
    if not isinstance(name, str):
        raise UsageError(f"backbone {name!r}: expected its name, such as 'dino'")


def check_choice(value: Any, choices: tuple[str, ...], what: str) -> None:
    """Raise a ValueError for a value that is none of those that are known."""
    if value not in choices:
        raise UsageError(f"{what}{value!r}: expected one of {', '.join(choices)}")


def format_call(kind: str, *values: Any, **settings: tuple[Any, Any]) -> str:
    """How an objective is written: settings are (value, default), and left out at their default."""
    parts = [repr(value) for value in values]
    parts += [f"{key}={value!r}" for key, (value, default) in settings.items() if value != default]
    return f"{kind}({', '.join(parts)})"
