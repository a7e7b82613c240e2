"""Draw universal concepts as each backbone sees them: coordinated activation maximization.

The names below are imported when they are first used, so that `import usae_viz` and `--help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_viz.augmentations import Augmentation
    from usae_viz.maximization import Result, maximize
    from usae_viz.objectives import Activations, Concept, Objective, objective
    from usae_viz.settings import MaximizeSettings
    from usae_viz.verify import Scores

__all__ = [
    "Activations", "Augmentation", "Concept", "MaximizeSettings", "Objective", "Result", "Scores",
    "maximize", "objective",
]  # fmt: skip

_HOMES = {
    "Activations": "objectives", "Augmentation": "augmentations", "Concept": "objectives",
    "MaximizeSettings": "settings", "Objective": "objectives", "Result": "maximization", "Scores": "verify",
    "maximize": "maximization", "objective": "objectives",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'usae_viz' has no attribute {name!r}")
    return getattr(import_module(f"usae_viz.{_HOMES[name]}"), name)
