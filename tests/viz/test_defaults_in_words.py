"""Where a default follows from others, a setting's description has its figures: those that are taken."""

import inspect
from fractions import Fraction

import pytest

from usae_viz.commands.drawing_commands import ClosenessWeight
from usae_viz.objectives.closeness import CLOSENESS
from usae_viz.optimization.batching import GPU_SHARE
from usae_viz.optimization.by_objective import STATISTICS_WEIGHT, WHOLE_FIRST, WHOLE_FIRST_BY_STATISTICS
from usae_viz.optimization.resolving import CANVAS_SCALE
from usae_viz.parameterizations import PARAMETERIZATIONS, FourierImage
from usae_viz.parameterizations.fourier import CONTRAST
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import WHOLE_SHARE

RATES = ", ".join(f"{name} {kind.learning_rate:g}" for name, kind in PARAMETERIZATIONS.items())
WORDS = {
    "size": f"{Fraction(CANVAS_SCALE).limit_denominator(100)} of the backbones' largest input size by default",
    "learning_rate": f"{RATES} by default",
    "whole_first": f"at least {WHOLE_SHARE:g} of the side; by default for a class "
    f"{WHOLE_FIRST_BY_STATISTICS:g} with `feature_statistics` and {WHOLE_FIRST:g} without",
    "feature_statistics": f"by default {STATISTICS_WEIGHT:g} for a class",
    "decay": f"{inspect.signature(FourierImage).parameters['decay'].default:g} by default",
    "contrast": f"{CONTRAST['photographs']:g} by default, {CONTRAST['demo']:g} for a USAE of the demo's scenes",
    "memory": f"on a GPU {GPU_SHARE:.0%} of what is free by default",
}


@pytest.mark.parametrize("name", WORDS)
def test_the_description_has_the_figures_that_are_taken(name):
    assert WORDS[name] in MaximizeSettings.model_fields[name].description


def test_so_has_the_option_that_is_no_setting():
    assert f"; {CLOSENESS:g} by default" in ClosenessWeight.__metadata__[0].help
