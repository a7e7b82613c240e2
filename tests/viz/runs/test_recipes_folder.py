"""The recipes that the project carries."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import usae_train as ut
from usae_viz.cli import app
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import read_render_recipe

RECIPES = sorted(Path(__file__).parents[3].glob("recipes/*.yaml"))


@pytest.fixture(scope="module")
def demo():
    return ut.load("demo")


def test_all_that_are_promised_are_there():
    assert {file.stem for file in RECIPES} == {
        "first-look",
        "coordinated-figure",
        "universality-ladder",
        "model-differences",
        "modes",
        "parameter-study",
        "atlas",
    }


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_can_be_planned(file, demo):
    plan = plan_recipe(demo, read_render_recipe(file), file.parent)
    assert plan.pictures > 0
    if file.stem == "atlas":
        assert len(plan.folders) == demo.n_concepts


def test_the_recipe_in_the_readme_can_be_planned(demo, tmp_path):
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "concepts:" in block]
    (tmp_path / "mine.yaml").write_text(text)
    plan = plan_recipe(demo, read_render_recipe(tmp_path / "mine.yaml"), tmp_path)
    assert {drawing.variant for drawing in plan.jobs} == {"plain", "maco", "largest"}


@pytest.mark.slow
@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_runs_dry(file, demo, monkeypatch):
    monkeypatch.setattr("usae_viz.runs.estimate.TRIAL_STEPS", 1)
    done = CliRunner().invoke(app, ["render", str(file), "--dry-run", "--json"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["pictures"] == plan_recipe(demo, read_render_recipe(file), file.parent).pictures
