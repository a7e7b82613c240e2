"""Objectives from a person's own Python file, `module:function`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from usae_train.runtime.errors import UsageError
from usae_viz.objectives import Activations, InvalidObjective, Objective, objective
from usae_viz.objectives.algebra import ScoreFunction
from usae_viz.own_code.importing import import_own, where_it_failed


@dataclass(frozen=True)
class Custom:
    """An objective of somebody's own, and the hash of the file that it stands in, with those that it imports."""

    objective: Objective
    sha256: str | None


def load_custom(text: str, folder: Path, allow_code: bool) -> Custom:
    """Import `module:function`: a function of `Activations`, or an `Objective` made of any.

    Args:
        text: the name; the module is looked for in `folder` first, then where Python looks.
        folder: the recipe's.
        allow_code: without it, nothing is imported.

    Raises:
        ValueError: without leave, or for a module or name that is not there or is not an objective.
    """
    text = text.strip()
    found, sha256 = import_own(text, folder, allow_code, "objective")
    module_name, _, name = text.partition(":")
    if not isinstance(found, Objective) and not callable(found):
        raise UsageError(f"objective {text!r}: {module_name} has no function or objective {name!r}")
    own = found if isinstance(found, Objective) else objective(found)
    return Custom(_called(own, text, getattr(sys.modules[module_name], "__file__", None)), sha256)


def _called(own: Objective, text: str, file: str | None) -> Objective:
    """The same objective under the name that it was found by."""
    return Objective(
        _told(own, text, file),
        text,
        own.concepts,
        own.backbones,
        own.whole_batch,
        own.needs_reference,
        own.minimized,
        own.classes,
        (lambda number: _called(own.bound(number), text, file)) if own.named else None,
    )


def _told(own: Objective, text: str, file: str | None) -> ScoreFunction:
    """The objective's score; what else than a ValueError its code raises is said in one line, with the code's line."""

    def scored(acts: Activations) -> Tensor:
        try:
            return own(acts)
        except RecursionError:
            raise
        except ValueError as error:  # who wrote it says what is wrong with what is drawn
            raise error if isinstance(error, UsageError) else UsageError(str(error)) from error
        except Exception as error:
            why = where_it_failed(error, file)
            raise InvalidObjective(f"objective {text!r} fails through {acts.backbone}: {why}") from error

    return scored
