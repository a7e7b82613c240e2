"""The page on one's own parts: what it shows is what runs."""

import re
import sys
from pathlib import Path

import pytest

import usae_viz as uv
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import read_render_recipe

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "own-parts.md"


@pytest.fixture(scope="module")
def blocks():
    """{language: the page's blocks of it}."""
    found = {}
    for language, text in re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


@pytest.fixture
def room(blocks, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(blocks["python"][0])
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_pages_recipe_is_planned_with_its_code(usae, room, blocks):
    (room / "mine.yaml").write_text(blocks["yaml"][0])
    recipe = read_render_recipe(room / "mine.yaml").model_copy(update={"concepts": [3]})
    plan = plan_recipe(usae, recipe, room, allow_code=True)
    own = [part.text for drawing in plan.jobs for part in drawing.settings.custom_parts]
    assert own == ["mine:CPPN", "mine:mirrored"]
    assert plan.jobs[1].settings.learning_rate == 5e-3


@pytest.mark.usefixtures("room")
def test_the_pages_network_learns(usae):
    from mine import CPPN, mirrored

    own = {"parameterization": CPPN, "transforms": ["augmentation", mirrored], "views": 1, "size": 32, "seed": 1}
    first, last = (uv.maximize(usae, uv.Concept(3), steps=steps, **own) for steps in (1, 12))
    codes = [result.scores["right"]["right"].code for result in (first, last)]
    assert codes[1] > codes[0]
