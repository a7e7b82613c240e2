"""The concept explorer: a page that opens from disk, needs no network, and can be zipped and mailed."""

from usae_viz.explorer.page import explore

__all__ = ["explore"]
