"""What a custom function scores, checked before it becomes a part of a sum: there it would be broadcast."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from usae_train.runtime.errors import UsageError
from usae_train.runtime.shortage import shortage
from usae_viz.custom_code.importing import where_it_failed
from usae_viz.objectives.activations import Activations

if TYPE_CHECKING:
    from torch import Tensor

ScoreFunction = Callable[[Activations], "Tensor"]


class InvalidObjective(UsageError):
    """An objective returned something that is not one score per picture."""


def is_custom(function: ScoreFunction) -> bool:
    """Whether a function is not one of this package's, whose scores need no check."""
    return not str(getattr(function, "__module__", "")).startswith("usae_viz.")


def checked_function(function: ScoreFunction, name: str) -> ScoreFunction:
    """A custom function, checked; what its code raises becomes one line of error, with the code's file and line.

    A `UsageError`, and running out of memory, are passed on as they are.
    """
    file = _file_of(function)

    def scored(acts: Activations) -> Tensor:
        try:
            value = function(acts)
        except (UsageError, RecursionError):
            raise
        except Exception as error:
            if shortage(error) is not None:  # fewer pictures at once may help
                raise
            why = where_it_failed(error, file)
            raise InvalidObjective(f"objective {name!r} fails through {acts.backbone}: {why}") from error
        return checked_score(value, name, acts)

    return scored


def checked_score(value: Any, name: str, acts: Activations) -> Tensor:
    """What an objective returned, if it is one real number per picture.

    Raises:
        InvalidObjective: for what is not a tensor of shape (batch,), or is of complex numbers.
    """
    from torch import Tensor

    if not isinstance(value, Tensor) or value.shape != (len(acts.canvas),):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InvalidObjective(
            f"objective {name} returned {shape} through {acts.backbone}; expected one score per picture, "
            f"({len(acts.canvas)},)"
        )
    if value.is_complex():
        raise InvalidObjective(f"objective {name} returned complex numbers through {acts.backbone}; expected real ones")
    return value


def _file_of(function: ScoreFunction) -> str | None:
    """The file of a function's code, or of an object's `__call__`; None for what has none."""
    plain: Any = inspect.unwrap(function)
    code = getattr(plain if hasattr(plain, "__code__") else type(plain).__call__, "__code__", None)
    return None if code is None else str(code.co_filename)
