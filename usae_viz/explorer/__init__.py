"""The concept explorer: a page that opens from disk, needs no network, and can be zipped and mailed.

`explore` is imported when it is first used: command lines read `settings` beside it, and --help stays quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_viz.explorer.page import explore

__all__ = ["explore"]


def __getattr__(name: str) -> Any:
    if name != "explore":
        raise AttributeError(f"module 'usae_viz.explorer' has no attribute {name!r}")
    from usae_viz.explorer.page import explore

    return explore
