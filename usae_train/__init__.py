"""Train universal sparse autoencoders: one sparse concept space for several vision backbones.

The names below are imported when they are first used, so that `import usae_train` and `--help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usae_train.backbones.backbone import PAPER, Backbone, BackboneSpec
    from usae_train.interventions.intervene import intervene, transplant
    from usae_train.interventions.top_patches import TopPatch, top_patches
    from usae_train.model.checkpoint import load, save
    from usae_train.model.published import import_published
    from usae_train.model.sparse import Codes
    from usae_train.model.statistics import Statistics
    from usae_train.model.usae import USAE
    from usae_train.pictures.images import open_images
    from usae_train.sae_formats.formats import export_sae, import_sae
    from usae_train.training.fitting import fit
    from usae_train.training.growing import add_backbone
    from usae_train.training.settings import FitSettings, Recipe

__all__ = [
    "PAPER", "USAE", "Backbone", "BackboneSpec", "Codes", "FitSettings", "Recipe", "Statistics", "TopPatch",
    "add_backbone", "export_sae", "fit", "import_published", "import_sae", "intervene", "load", "open_images", "save",
    "top_patches", "transplant",
]  # fmt: skip

_HOMES = {
    "backbones.backbone": ("PAPER", "Backbone", "BackboneSpec"),
    "interventions.intervene": ("intervene", "transplant"),
    "interventions.top_patches": ("TopPatch", "top_patches"),
    "model.checkpoint": ("load", "save"),
    "model.published": ("import_published",),
    "model.sparse": ("Codes",),
    "model.statistics": ("Statistics",),
    "model.usae": ("USAE",),
    "pictures.images": ("open_images",),
    "sae_formats.formats": ("export_sae", "import_sae"),
    "training.fitting": ("fit",),
    "training.growing": ("add_backbone",),
    "training.settings": ("FitSettings", "Recipe"),
}


def __dir__() -> list[str]:  # for completion in a notebook
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'usae_train' has no attribute {name!r}")
    home = next(module for module, names in _HOMES.items() if name in names)
    return getattr(import_module(f"usae_train.{home}"), name)
