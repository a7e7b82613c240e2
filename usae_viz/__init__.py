"""Draw universal concepts as each backbone sees them: coordinated activation maximization.

The names below are imported when they are first used, so that `import usae_viz` and `--help` stay quick.
"""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from usae_viz.concepts.table import concept_table
    from usae_viz.explanations.explain import concept_map, explain
    from usae_viz.explanations.explanation import Explanation
    from usae_viz.objectives import (
        L2,
        Activations,
        Channel,
        Class,
        Closeness,
        Concept,
        Direction,
        Diversity,
        Logit,
        LogProbability,
        Objective,
        SameCodes,
        TotalVariation,
        objective,
        parse_objective,
    )
    from usae_viz.optimization.from_pictures import accentuate, invert
    from usae_viz.optimization.maximize import maximize, maximize_each
    from usae_viz.optimization.result import Result
    from usae_viz.runs.run import Run, render
    from usae_viz.settings import MaximizeSettings
    from usae_viz.verification.scores import Scores
    from usae_viz.views.presets import Augmentation

__all__ = [
    "L2",
    "Activations",
    "Augmentation",
    "Channel",
    "Class",
    "Closeness",
    "Concept",
    "Direction",
    "Diversity",
    "Explanation",
    "LogProbability",
    "Logit",
    "MaximizeSettings",
    "Objective",
    "Result",
    "Run",
    "SameCodes",
    "Scores",
    "TotalVariation",
    "accentuate",
    "concept_map",
    "concept_table",
    "explain",
    "invert",
    "maximize",
    "maximize_each",
    "objective",
    "parse_objective",
    "render",
]

_HOMES = {
    "concepts.table": ("concept_table",),
    "explanations.explain": ("concept_map", "explain"),
    "explanations.explanation": ("Explanation",),
    "optimization.from_pictures": ("accentuate", "invert"),
    "optimization.maximize": ("maximize", "maximize_each"),
    "optimization.result": ("Result",),
    "views.presets": ("Augmentation",),
    "verification.scores": ("Scores",),
    "runs.run": ("Run", "render"),
    "settings": ("MaximizeSettings",),
}


def __dir__() -> list[str]:  # for completion in a notebook, and `import *`
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> _typing.Any:
    if name not in __all__:
        raise AttributeError(f"module 'usae_viz' has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "objectives")
    return getattr(_import_module(f"usae_viz.{home}"), name)
