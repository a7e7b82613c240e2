"""What depends on the objective that is drawn: how long it is shown whole, and to which statistics it is held."""

from __future__ import annotations

from usae_train.model.usae import USAE
from usae_viz.objectives import Objective
from usae_viz.settings import MaximizeSettings

# Of the steps of a class. With small crops from the start, things that people made do not come about: castle and patio
# were read with probability 0.00 by a network that took no part, with crops of 0.6 to 1 in half of the steps 0.91 and
# 0.24, in 0.7 of them 0.99 and 0.83. Held to a network's feature statistics they do, and are read from nearer by
# (tests/benchmarks/real_reader.py).
WHOLE_FIRST, HELD_WHOLE_FIRST = 0.7, 0.3
# Fifty classes drawn through EfficientNet-Lite0, read by Lite2 as the class in the whole and in crops of 0.7, 0.5, 0.3
# of the side: with nothing held 0.960, 0.923, 0.801, 0.293, with 100 0.960, 0.940, 0.905, 0.633. Of five hard ones, as
# a whole: with 100 all, with 200 0.80, with 400 0.20 (tests/benchmarks/real_reader.py).
FEATURE_STATISTICS = 100.0
# Batch norms by which a network holds a picture; a vision transformer that begins with convolutions has 3 or 4, which
# say nothing of things, EfficientNet-Lite0 38 at 224 px, a ResNet-18 20.
LEAST_NORMS = 8


def by_objective(usae: USAE, objective: Objective, settings: MaximizeSettings) -> tuple[float, float]:
    """What of `ViewConfig` depends on what is drawn: `whole_first` and `feature_statistics`."""
    return whole_first(usae, objective, settings), feature_statistics(usae, objective, settings)


def whole_first(usae: USAE, objective: Objective, settings: MaximizeSettings) -> float:
    """The share of the steps in which an objective is shown nearly the whole canvas."""
    if settings.whole_first is not None:
        return settings.whole_first
    if settings.start is not None or not _of_classes(objective):
        return 0.0
    held = feature_statistics(usae, objective, settings) and _can_be_held(usae, objective)
    return HELD_WHOLE_FIRST if held else WHOLE_FIRST


def feature_statistics(usae: USAE, objective: Objective, settings: MaximizeSettings) -> float:
    """How strongly features are held to those of training pictures while an objective is drawn.

    A photograph that is started from has natural features already: towards the mean of all it would lose its own.
    """
    if settings.feature_statistics is not None:
        return settings.feature_statistics
    free = settings.start is not None or not _of_classes(objective) or not _can_be_held(usae, objective)
    return 0.0 if free else FEATURE_STATISTICS


def _can_be_held(usae: USAE, objective: Objective) -> bool:
    """Whether every network whose classes are drawn has enough batch norms."""
    return all(usae.backbones[name].n_statistics >= LEAST_NORMS for name, _ in objective.classes)


def _of_classes(objective: Objective) -> bool:
    return bool(objective.classes) and not objective.concepts
