"""What of the settings depends on the objective: its crops, how long it is shown whole, and feature statistics."""

from __future__ import annotations

from usae_train.model.usae import USAE
from usae_viz.objectives import Objective
from usae_viz.optimization.checks import is_augmented
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import CROP_OF_CLASSES, CROP_OF_FEATURES, Crop

# Of the steps of a class. With small crops from the start, things that people made do not come about: castle and patio
# were read with probability 0.00 by a network that took no part, with crops of 0.6 to 1 in half of the steps 0.91 and
# 0.24, in 0.7 of them 0.99 and 0.83. By a network's feature statistics they do, and are read from nearer by
# (tests/benchmarks/real_reader.py).
WHOLE_FIRST, WHOLE_FIRST_BY_STATISTICS = 0.7, 0.3
# Fifty classes drawn through EfficientNet-Lite0, read by Lite2 as the class in the whole and in crops of 0.7, 0.5, 0.3
# of the side, and their mean probability: with 0 (as 0.8 drew them) 0.960, 0.923, 0.801, 0.293 and 0.89, 0.88, 0.70,
# 0.15; with 200 0.940, 0.955, 0.915, 0.678 and 0.93, 0.93, 0.88, 0.54 (tests/benchmarks/real_reader.py).
STATISTICS_WEIGHT = 200.0
# Batch norms that are enough; a vision transformer that begins with convolutions has 3 or 4, which say nothing of
# things, EfficientNet-Lite0 38 at 224 px, a ResNet-18 20.
LEAST_NORMS = 8


def settings_for(usae: USAE, objective: Objective, settings: MaximizeSettings) -> MaximizeSettings:
    """The settings with what depends on the objective filled in.

    It is the augmentation's `crop`, `whole_first` and `feature_statistics`. They are numbers then, as they are used and
    kept with the pictures; but the first two stay as they are where they mean nothing: with custom transforms in the
    place of the built-in views.
    """
    weight = settings.feature_statistics
    if weight is None:
        weight = _statistics_weight(usae, objective, settings)
    weighted_settings = settings.model_copy(update={"feature_statistics": weight})
    if not is_augmented(settings):
        return weighted_settings
    whole_first, augmentation = settings.whole_first, settings.augmentation
    if whole_first is None:
        whole_first = default_whole_first(usae, objective, weighted_settings)
    if augmentation.crop is None:
        augmentation = augmentation.model_copy(update={"crop": _default_crop(objective, settings)})
    return weighted_settings.model_copy(update={"whole_first": whole_first, "augmentation": augmentation})


def _default_crop(objective: Objective, settings: MaximizeSettings) -> Crop:
    """What the views of an objective show: a class is to be seen from near as well, a photograph stays what it was."""
    small = settings.start is not None or objective.needs_reference or _of_classes(objective)
    return CROP_OF_CLASSES if small else CROP_OF_FEATURES


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
