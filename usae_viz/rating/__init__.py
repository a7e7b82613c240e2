"""Human studies: does a drawn picture lead a person to the top-activating patches of its concept?

The names below are imported when they are first used: command lines read `settings` alone, and --help stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_viz.rating.scoring import Outcome, score_answers
    from usae_viz.rating.study import make_study, write_study

__all__ = ["Outcome", "make_study", "score_answers", "write_study"]

_HOMES = {"Outcome": "scoring", "score_answers": "scoring", "make_study": "study", "write_study": "study"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'usae_viz.rating' has no attribute {name!r}")
    return getattr(import_module(f"usae_viz.rating.{_HOMES[name]}"), name)
