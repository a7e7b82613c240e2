"""Train universal sparse autoencoders: one sparse concept space for several vision backbones.

The names below are imported when they are first used, so that `import usae_train` and `--help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_train.backbones import PAPER, Backbone, BackboneSpec
    from usae_train.checkpoint import load, save
    from usae_train.fitting import fit
    from usae_train.growing import add_backbone
    from usae_train.images import open_images
    from usae_train.published import import_published
    from usae_train.settings import FitSettings, Recipe
    from usae_train.sparse import Codes
    from usae_train.statistics import Statistics
    from usae_train.usae import USAE

__all__ = [
    "PAPER", "USAE", "Backbone", "BackboneSpec", "Codes", "FitSettings", "Recipe", "Statistics",
    "add_backbone", "fit", "import_published", "load", "open_images", "save",
]  # fmt: skip

_HOMES = {
    "PAPER": "backbones", "USAE": "usae", "Backbone": "backbones", "BackboneSpec": "backbones", "Codes": "sparse",
    "FitSettings": "settings", "Recipe": "settings", "Statistics": "statistics", "fit": "fitting",
    "add_backbone": "growing", "import_published": "published", "load": "checkpoint",
    "open_images": "images", "save": "checkpoint",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'usae_train' has no attribute {name!r}")
    return getattr(import_module(f"usae_train.{_HOMES[name]}"), name)
