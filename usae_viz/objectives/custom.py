"""Objectives from a person's own Python file, `module:function`. The one place where a recipe can run code."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from usae_viz.objectives import Activations, NoScore, Objective, objective
from usae_viz.objectives.algebra import Score
from usae_viz.objectives.own_code import hash_of_code

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Custom:
    """An objective of somebody's own, and the hash of the file that it stands in, with those that it imports."""

    objective: Objective
    sha256: str | None


def is_custom(text: str) -> bool:
    """Whether a text names a function instead of spelling an objective."""
    return NAME.fullmatch(text.strip()) is not None


def load_custom(text: str, folder: Path, allow_code: bool) -> Custom:
    """Import `module:function`: a function of `Activations`, or an `Objective` made of any.

    Args:
        text: the name; the module is looked for in `folder` first, then where Python looks.
        folder: the recipe's.
        allow_code: without it, nothing is imported.

    Raises:
        ValueError: without leave, or for a module or name that is not there or is no objective.
    """
    text = text.strip()
    if not allow_code:
        raise ValueError(f"objective {text!r} runs code from a file; look at the file, then add --allow-code")
    module_name, _, name = text.partition(":")
    sys.path.insert(0, str(folder.resolve()))
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # anybody's code: whatever it raises is said, a script's own exit too
        raise ValueError(f"objective {text!r}: {module_name} cannot be imported from {folder}: {error!r}") from error
    finally:
        sys.path.remove(str(folder.resolve()))
    found = getattr(module, name, None)
    if not isinstance(found, Objective) and not callable(found):
        raise ValueError(f"objective {text!r}: {module_name} has no function or objective {name!r}")
    own = found if isinstance(found, Objective) else objective(found)
    file = getattr(module, "__file__", None)
    told = _told(own, text, file)
    named = Objective(
        told, text, own.concepts, own.backbones, own.whole_batch, own.needs_reference, own.lowered, own.classes
    )
    return Custom(named, hash_of_code(module_name, Path(file)) if file else None)


def _told(own: Objective, text: str, file: str | None) -> Score:
    """The objective's score; what else than a ValueError its code raises is said in one line, with the code's line."""

    def scored(acts: Activations) -> Tensor:
        try:
            return own(acts)
        except (ValueError, RecursionError):
            raise
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
            at = f"{Path(file).name}, line {lines[-1]}: " if file and lines else ""
            raise NoScore(f"objective {text!r} fails through {acts.backbone}: {at}{error!r}") from error

    return scored
