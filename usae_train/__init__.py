"""Train universal sparse autoencoders: one sparse concept space for several vision backbones.

The names below are imported when they are first used, so that `import usae_train` and `--help` stay quick.
"""

import typing as _typing
import warnings as _warnings
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from usae_train.agreement.consensus import consensus
    from usae_train.backbones.backbone import Backbone
    from usae_train.backbones.module_backbone import ModuleBackbone
    from usae_train.backbones.spec import PAPER, BackboneSpec
    from usae_train.evaluation.from_python import Evaluation, evaluate, r2_matrix
    from usae_train.images.sources import open_images
    from usae_train.interventions.intervene import intervene, transplant
    from usae_train.model.checkpoint import load, save
    from usae_train.model.published import import_published
    from usae_train.model.sparse import Codes
    from usae_train.model.statistics import Statistics
    from usae_train.model.top_patches import TopPatch, top_patches
    from usae_train.model.usae import USAE
    from usae_train.sae_formats.formats import export_sae, import_sae
    from usae_train.training.add_backbone import add_backbone
    from usae_train.training.fitting import fit
    from usae_train.training.settings import FitSettings, TrainingRecipe

__all__ = [
    "PAPER",
    "USAE",
    "Backbone",
    "BackboneSpec",
    "Codes",
    "Evaluation",
    "FitSettings",
    "ModuleBackbone",
    "Statistics",
    "TopPatch",
    "TrainingRecipe",
    "add_backbone",
    "consensus",
    "evaluate",
    "export_sae",
    "fit",
    "import_published",
    "import_sae",
    "intervene",
    "load",
    "open_images",
    "r2_matrix",
    "save",
    "top_patches",
    "transplant",
]

_HOMES = {
    "backbones.backbone": ("Backbone",),
    "backbones.spec": ("PAPER", "BackboneSpec"),
    "backbones.module_backbone": ("ModuleBackbone",),
    "agreement.consensus": ("consensus",),
    "evaluation.from_python": ("Evaluation", "evaluate", "r2_matrix"),
    "interventions.intervene": ("intervene", "transplant"),
    "model.top_patches": ("TopPatch", "top_patches"),
    "model.checkpoint": ("load", "save"),
    "model.published": ("import_published",),
    "model.sparse": ("Codes",),
    "model.statistics": ("Statistics",),
    "model.usae": ("USAE",),
    "images.sources": ("open_images",),
    "sae_formats.formats": ("export_sae", "import_sae"),
    "training.fitting": ("fit",),
    "training.add_backbone": ("add_backbone",),
    "training.settings": ("FitSettings", "TrainingRecipe"),
}


def __dir__() -> list[str]:  # for completion in a notebook, and `import *`
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> _typing.Any:
    if name == "Recipe":
        from usae_train.runtime.warning_kinds import FormerNameWarning

        _warnings.warn("ut.Recipe is called ut.TrainingRecipe now; write ut.TrainingRecipe", FormerNameWarning, 2)
        name = "TrainingRecipe"
    if name not in __all__:
        raise AttributeError(f"module 'usae_train' has no attribute {name!r}")
    home = next(module for module, names in _HOMES.items() if name in names)
    return getattr(_import_module(f"usae_train.{home}"), name)
