"""Examples in docstrings are run, and the parts that one composes have one each."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
from torch import nn

import usae_train
import usae_viz
from usae_viz.objectives import OBJECTIVES, Objective
from usae_viz.parameterizations import PARAMETERIZATIONS, Parameterization
from usae_viz.views.presets import Augmentation

MODULES = [
    found.name
    for package in (usae_train, usae_viz)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not found.name.endswith("__main__")  # which runs the command line
]
PARTS = ("usae_viz.objectives", "usae_viz.parameterizations", "usae_viz.views.presets")
BASES = (Objective, Parameterization)


def public_parts(module):
    """Objectives, parameterizations and augmentations that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, (Objective, nn.Module, Augmentation))
        if value.__module__ == module.__name__ and not name.startswith("_") and value not in BASES
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.failed == 0


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(PARTS)])
def test_every_part_that_one_composes_has_an_example(name):
    parts = public_parts(importlib.import_module(name))
    assert [part for part, value in parts.items() if ">>>" not in (value.__doc__ or "")] == []


def test_the_parts_were_found():
    found = {part for name in MODULES if name.startswith(PARTS) for part in public_parts(importlib.import_module(name))}
    known = {
        *OBJECTIVES,
        *(kind.__name__ for kind in PARAMETERIZATIONS.values()),
        "CoupledImage",
        "CustomImages",
        "Augmentation",
    }
    assert found == known
