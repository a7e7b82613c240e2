"""Custom objectives, from a Python file: `module:function`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.importing import import_custom
from usae_viz.objectives import Objective


@dataclass(frozen=True)
class CustomObjective:
    """A custom objective, and the hash of the file that it stands in, with those that it imports."""

    objective: Objective
    sha256: str | None


def import_objective(text: str, folder: Path, allow_code: bool) -> CustomObjective:
    """Import `module:function`: a function of `Activations`, or an `Objective` made of any; as `import_custom`.

    Raises:
        ValueError: without permission, or for a module or name that is not there or is not an objective.
    """
    text = text.strip()
    imported, sha256 = import_custom(text, folder, allow_code, "objective")
    module_name, _, name = text.partition(":")
    if not isinstance(imported, Objective) and not callable(imported):
        raise UsageError(f"objective {text!r}: {module_name} has no function or objective {name!r}")
    objective = imported if isinstance(imported, Objective) else Objective(imported, text)
    return CustomObjective(objective.renamed(text), sha256)
