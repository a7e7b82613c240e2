"""Draw universal concepts as each backbone sees them: coordinated activation maximization.

The names below are imported when they are first used, so that `import usae_viz` and `--help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_viz.augmentations import Augmentation
    from usae_viz.explanations.explain import concept_map, explain
    from usae_viz.explanations.explanation import Explanation
    from usae_viz.maximization.maximize import accentuate, invert, maximize, maximize_each
    from usae_viz.maximization.result import Result
    from usae_viz.maximization.settings import MaximizeSettings
    from usae_viz.objectives import (
        L2,
        Activations,
        Channel,
        Closeness,
        Concept,
        Direction,
        Diversity,
        Logit,
        Objective,
        SameCodes,
        TotalVariation,
        objective,
        parse_objective,
    )
    from usae_viz.verification.scores import Scores

__all__ = [
    "L2", "Activations", "Augmentation", "Channel", "Closeness", "Concept", "Direction", "Diversity",
    "Explanation", "Logit",
    "MaximizeSettings", "Objective", "Result", "SameCodes", "Scores", "TotalVariation", "accentuate",
    "concept_map", "explain", "invert", "maximize", "maximize_each", "objective", "parse_objective",
]  # fmt: skip

_HOMES = {
    "augmentations": ("Augmentation",),
    "explanations.explain": ("concept_map", "explain"),
    "explanations.explanation": ("Explanation",),
    "maximization.maximize": ("accentuate", "invert", "maximize", "maximize_each"),
    "maximization.result": ("Result",),
    "verification.scores": ("Scores",),
    "maximization.settings": ("MaximizeSettings",),
}


def __dir__() -> list[str]:  # for completion in a notebook
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'usae_viz' has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "objectives")
    return getattr(import_module(f"usae_viz.{home}"), name)
