"""What settings come to: what was not told is taken from the backbones and from what the USAE has seen."""

from __future__ import annotations

import math
from typing import Any

import torch

from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.memory import present_memory
from usae_viz.concepts.naming import known_concept
from usae_viz.objectives import Objective
from usae_viz.optimization.batching import bytes_a_canvas
from usae_viz.optimization.checks import check_clashes, is_augmented
from usae_viz.optimization.edited import with_edits_bound
from usae_viz.own_code.part import OwnPart
from usae_viz.parameterizations import PARAMETERIZATIONS
from usae_viz.parameterizations.fourier import CONTRAST
from usae_viz.parameterizations.own import own_learning_rate
from usae_viz.parameterizations.spectra import DEMO, PHOTOGRAPHS
from usae_viz.settings import MAX_SIZE, SHARED, MaximizeSettings

# Of the steps of a class. With small crops from the start, things that people made do not come about: castle and patio
# were read with probability 0.00 by a network that took no part, with crops of 0.6 to 1 in half of the steps 0.91 and
# 0.24, in 0.7 of them 0.99 and 0.83. By a network's feature statistics they do, and are read from nearer by
# (tests/benchmarks/real_reader.py).
WHOLE_FIRST, WHOLE_FIRST_BY_STATISTICS = 0.7, 0.3
# Fifty classes drawn through EfficientNet-Lite0, read by Lite2 as the class in the whole and in crops of 0.7, 0.5, 0.3
# of the side: with 0 0.960, 0.923, 0.801, 0.293, with 100 0.960, 0.940, 0.905, 0.633. Of five hard ones, as a whole:
# with 100 all, with 200 0.80, with 400 0.20 (tests/benchmarks/real_reader.py).
STATISTICS_WEIGHT = 100.0
# Batch norms that are enough; a vision transformer that begins with convolutions has 3 or 4, which say nothing of
# things, EfficientNet-Lite0 38 at 224 px, a ResNet-18 20.
LEAST_NORMS = 8
# Of the largest input size: 512 px for networks of 224, of which a crop of 0.44 is shown pixel by pixel.
CANVAS = 16 / 7


def resolve_settings(usae: USAE, settings: MaximizeSettings) -> MaximizeSettings:
    """The settings with size, learning rate, spectrum or contrast, and the augmentation's shift filled in.

    Raises:
        ValueError: for crops of less than one pixel of the canvas, more pictures than there is memory for, a concept
            to verify that is not there, or a setting of another parameterization.
    """
    if settings.verify is not None:
        known_concept(usae, settings.verify)
    _check_own(settings)
    settings, backbones = with_edits_bound(usae, settings), usae.backbones.values()
    size = settings.size or round(CANVAS * usae.input_size)
    augmentation = settings.augmentation.for_patches(max(1 / min(backbone.grid) for backbone in backbones))
    _check_feature_statistics(usae, settings)
    if is_augmented(settings):
        _check_crops(size, augmentation.crop[0])
    _check_canvases(usae, settings, size)
    return settings.model_copy(
        update={
            "size": size,
            **_natural(usae, settings),
            "learning_rate": settings.learning_rate or _learning_rate(settings.parameterization),
            "augmentation": augmentation,
        }
    )


def _learning_rate(parameterization: str | OwnPart) -> float:
    if isinstance(parameterization, OwnPart):
        return own_learning_rate(parameterization)
    return PARAMETERIZATIONS[parameterization].learning_rate


def _check_own(settings: MaximizeSettings) -> None:
    """Raise a ValueError where parts of one's own cannot be, or a setting leaves another one without meaning."""
    for transform in settings.transforms:
        if isinstance(transform, OwnPart):
            transform.ready("transform")
    if isinstance(settings.parameterization, OwnPart):
        settings.parameterization.ready("parameterization")
    check_clashes(settings)


def _natural(usae: USAE, settings: MaximizeSettings) -> dict[str, Any]:
    """The spectrum or contrast that pictures are held to by default: that of the pictures that the USAE has seen."""
    if settings.start is not None:  # it keeps its own
        return {}
    seen = DEMO if (usae.measured_on.name or "").partition(":")[0] == DEMO else PHOTOGRAPHS
    if settings.parameterization == "maco":
        return {"spectrum": settings.spectrum or seen}
    return {"contrast": settings.contrast or CONTRAST[seen]} if settings.parameterization == "fourier" else {}


def _check_crops(size: int, share: float) -> None:
    """Raise a ValueError where the smallest crop, a share of the side, is of less than a pixel: it shows nothing."""
    least = 1 / share
    if size < least:
        larger = f"raise --size to {math.ceil(least)}, or " if least <= MAX_SIZE else ""
        raise UsageError(
            f"crops from {share:g} of the side are less than a pixel wide on a canvas of {size} px; {larger}take an "
            "augmentation of larger crops"
        )


def _check_feature_statistics(usae: USAE, settings: MaximizeSettings) -> None:
    if settings.feature_statistics and not any(own.n_norms for own in usae.backbones.values()):
        raise UsageError(
            f"feature_statistics is {settings.feature_statistics:g}, and {' and '.join(usae.names)} have no batch norm "
            "whose statistics can be read; leave it out"
        )


def _check_canvases(usae: USAE, settings: MaximizeSettings, size: int) -> None:
    """Raise a ValueError where the pictures of one objective, which are drawn together, fit into no memory.

    It is asked before they are counted out: a hundred million seeds would be as many names.
    """
    canvases = settings.seeds * (1 if settings.mode == SHARED else len(usae.names))
    device = usae.device
    there = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else present_memory()
    needed = canvases * bytes_a_canvas(size)
    if needed > there:
        raise UsageError(
            f"{canvases} pictures of {size} px are drawn at the same time for {settings.seeds} seeds and take "
            f"{needed / 1e9:.3g} GB, and there are {there / 1e9:.3g}; lower --seeds or --size"
        )


def settings_for(usae: USAE, objective: Objective, settings: MaximizeSettings) -> MaximizeSettings:
    """The settings with what depends on the objective filled in: `whole_first` and `feature_statistics`.

    They are numbers then, as they are used and kept with the pictures; but `whole_first` stays as it is where it means
    nothing: with transforms of somebody's own in the place of the built-in views.
    """
    weight = settings.feature_statistics
    if weight is None:
        weight = _statistics_weight(usae, objective, settings)
    filled = settings.model_copy(update={"feature_statistics": weight})
    whole_first = settings.whole_first
    if whole_first is None and is_augmented(settings):
        whole_first = default_whole_first(usae, objective, filled)
    return filled.model_copy(update={"whole_first": whole_first})


def default_whole_first(usae: USAE, objective: Objective, settings: MaximizeSettings) -> float:
    """The share of the steps in which an objective is shown nearly the whole canvas, by its `feature_statistics`."""
    if settings.start is not None or not _of_classes(objective):
        return 0.0
    return WHOLE_FIRST_BY_STATISTICS if settings.feature_statistics and _enough_norms(usae, objective) else WHOLE_FIRST


def _statistics_weight(usae: USAE, objective: Objective, settings: MaximizeSettings) -> float:
    """How much a score is lowered by the distance from feature statistics, by default.

    A photograph that is started from has natural features already: towards the mean of all it would lose its own.
    """
    free = settings.start is not None or not _of_classes(objective) or not _enough_norms(usae, objective)
    return 0.0 if free else STATISTICS_WEIGHT


def _enough_norms(usae: USAE, objective: Objective) -> bool:
    """Whether every network whose classes are drawn has enough batch norms."""
    return all(usae.backbones[name].n_norms >= LEAST_NORMS for name, _ in objective.classes)


def _of_classes(objective: Objective) -> bool:
    return bool(objective.classes) and not objective.concepts
