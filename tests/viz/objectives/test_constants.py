"""What an objective's text does not say of its score, and other versions had otherwise, is in keys and is said."""

import hashlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from usae_train.model.usae import USAE
from usae_viz.objectives import Class, Concept, Logit, LogProbability
from usae_viz.objectives.classes import TEMPERATURE
from usae_viz.objectives.custom_objective import import_objective
from usae_viz.parameterizations.spectra import spectrum_hash
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.show import changed_since
from usae_viz.settings import MaximizeSettings

OF_CLASS = [
    Class("left", 3),
    -Class("left", 3) / 2,
    Concept(3) + 0.5 * Class("left", 3),
    (Class("left", 3) - Logit("left", 2)).through(["left"]).renamed("mine"),
]
OTHERS = [Concept(3), Logit("left", 3), LogProbability("left", 3), Logit("left", 3) + LogProbability("left", 3)]


@pytest.fixture(scope="module")
def classifying(usae):
    """The left backbone of the tiny USAE, with a classifier of five random classes."""
    specs = {"left": usae.specs["left"].model_copy(update={"classes": 5})}
    return USAE({"left": 24}, n_concepts=12, k=3, specs=specs, grid=usae.grid).requires_grad_(False)


def key(usae, objective, **settings):
    (job,) = plan_objectives(usae, [objective], [MaximizeSettings(mode="per-model", **settings)]).jobs
    return job.key


@pytest.mark.parametrize("objective", OF_CLASS)
def test_whatever_a_class_is_part_of_has_its_temperature(classifying, objective, monkeypatch):
    assert objective.constants == {"temperature": TEMPERATURE}
    today = key(classifying, objective)
    monkeypatch.setattr(objective, "constants", {"temperature": 1.0})
    assert key(classifying, objective) != today


def test_a_class_by_its_name_has_it_when_its_number_is_known():
    assert (Class("left", "castle") + Concept(3)).bound(lambda called: 4).constants == {"temperature": TEMPERATURE}


def test_a_class_in_a_file_of_ones_own_has_it(tmp_path):
    (tmp_path / "own_class.py").write_text(
        "import usae_viz as uv\ncastle = uv.Class('left', 3) - uv.Logit('left', 2)\n"
    )
    try:
        imported = import_objective("own_class:castle", tmp_path, allow_code=True)
    finally:
        sys.modules.pop("own_class", None)
    assert (str(imported.objective), imported.objective.constants) == ("own_class:castle", {"temperature": TEMPERATURE})


@pytest.mark.parametrize("objective", OTHERS)
@pytest.mark.parametrize("whole_first", [None, 0.35])
def test_the_key_of_all_else_is_that_of_0_8(classifying, objective, whole_first):
    """As version 0.8 made it: of resolved settings without those that change no pixel or were not told."""
    (job,) = plan_objectives(classifying, [objective], [MaximizeSettings(whole_first=whole_first)]).jobs
    left_out = {"memory", "verdict", "spectrum", "verify", "transforms", "edits", "feature_statistics"}
    settings = job.settings.model_dump(mode="json", exclude=left_out)
    content = {
        "settings": settings | {"whole_first": whole_first},
        "animations": [],
        "given": {},
        "spectrum": job.settings.spectrum and spectrum_hash(job.settings.spectrum),
        "usae": classifying.sha256,
        "version": "0.5.0",
        "folder": job.folder,
        "objective": str(objective),
        "code": None,
    }
    assert job.key == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@pytest.mark.parametrize("version", ["0.3.0", "0.8.0", "0.9.0", "1.0.0rc1"])
@pytest.mark.parametrize("objective", [*OF_CLASS, *OTHERS])
def test_a_picture_of_a_class_of_before_its_temperature_is_said_to_come_out_otherwise(version, objective):
    line = changed_since(Path("a.png"), SimpleNamespace(versions={"usae": version}), objective)
    if objective in OTHERS or version >= "0.9":
        assert line is None
    else:
        assert re.fullmatch(
            rf"a.png was drawn by usae {version}: Class takes its log-probability at a temperature of 3 since 0.9, so "
            r"that it comes out as a different picture; before, Class was Logit \+ LogProbability",
            line,
        )
