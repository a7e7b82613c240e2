"""What of a recipe is told to be wrong before torch is loaded, and what is not, because it is drawn."""

import re
from pathlib import Path

import pytest

from usae_viz.commands.early_checks import check_recipe, outline_and_labels
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe


@pytest.mark.parametrize(
    "template", ["Concept({k}) - 0.2 * Concept({k}1)", "Concept({k}) - Concept(5) / {k}", "Concept({k}) * {k}0"]
)
def test_what_a_recipe_draws_for_each_concept_is_checked_with_one_of_its_own(usae, folder, template):
    """It was checked with 0: that 01 cannot be read, and that 0 is divided by, is nothing to a recipe of 1."""
    recipe = RenderRecipe(concepts=["0-1", 1], objective=template)
    check_recipe(recipe, outline_and_labels(str(folder), None), Path(), allow_code=False)
    one = recipe.model_copy(update={"concepts": [1], "settings": recipe.settings.model_copy(update={"size": 32})})
    assert plan_recipe(usae, one, Path()).pictures == 2


@pytest.mark.parametrize(
    ("concepts", "template", "why"),
    [
        ([3, 0], "Concept({k}) - Colour({k})", "unknown name 'Colour'"),
        ([2], "Concept({k}) - Concept({k}00000)", "no concept 200000"),
        ([0], "Concept({k}) / {k}", "cannot divide by 0; expected a number, not 0"),
        ([200000, 1], "Concept({k})", "no concept 200000"),
    ],
)
def test_a_mistake_in_it_is_still_told_early(folder, concepts, template, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        check_recipe(
            RenderRecipe(concepts=concepts, objective=template),
            outline_and_labels(str(folder), None),
            Path(),
            allow_code=False,
        )


def test_without_a_number_nothing_of_it_is_checked_early(folder):
    recipe = RenderRecipe(concepts=["0-1", {"top": 2}], objective="Concept({k}) - Concept(5) / {k}")
    check_recipe(recipe, outline_and_labels(str(folder), None), Path(), allow_code=False)
