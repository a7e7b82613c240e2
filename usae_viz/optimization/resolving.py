"""What settings resolve to: those that are not given follow from the backbones and from what the USAE has seen."""

from __future__ import annotations

from typing import Any

from usae_train.model.usae import USAE
from usae_viz.custom_code.part import CustomPart
from usae_viz.optimization.edited import with_edits_bound
from usae_viz.optimization.feasibility import check_feasible
from usae_viz.parameterizations import PARAMETERIZATIONS
from usae_viz.parameterizations.custom import custom_learning_rate
from usae_viz.parameterizations.fourier import CONTRAST
from usae_viz.parameterizations.spectra import DEMO, PHOTOGRAPHS
from usae_viz.settings import MaximizeSettings

# Of the largest input size: 512 px for networks of 224, of which a crop of 0.44 is shown pixel by pixel.
CANVAS_SCALE = 16 / 7


def resolve_settings(usae: USAE, settings: MaximizeSettings) -> MaximizeSettings:
    """The settings with size, learning rate, spectrum or contrast, and the augmentation's shift filled in.

    Raises:
        ValueError: as `with_edits_bound` and `check_feasible`.
    """
    settings = with_edits_bound(usae, settings)
    size = settings.size or round(CANVAS_SCALE * usae.input_size)
    check_feasible(usae, settings, size)
    patch = max(1 / min(backbone.grid) for backbone in usae.backbones.values())
    return settings.model_copy(
        update={
            "size": size,
            **_natural(usae, settings),
            "learning_rate": settings.learning_rate or _learning_rate(settings.parameterization),
            "augmentation": settings.augmentation.for_patches(patch),
        }
    )


def _learning_rate(parameterization: str | CustomPart) -> float:
    if isinstance(parameterization, CustomPart):
        return custom_learning_rate(parameterization)
    return PARAMETERIZATIONS[parameterization].learning_rate


def _natural(usae: USAE, settings: MaximizeSettings) -> dict[str, Any]:
    """The spectrum or contrast that pictures are held to by default: that of the pictures that the USAE has seen."""
    if settings.start is not None:  # it keeps its own
        return {}
    natural = DEMO if (usae.measured_on.name or "").partition(":")[0] == DEMO else PHOTOGRAPHS
    if settings.parameterization == "maco":
        return {"spectrum": settings.spectrum or natural}
    return {"contrast": settings.contrast or CONTRAST[natural]} if settings.parameterization == "fourier" else {}
