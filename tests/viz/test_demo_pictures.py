import colorsys

import pytest
import torch

import usae_train as ut
import usae_viz as uv
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.concepts.ranking import concept_rows
from usae_viz.export.top_patches import top_patch_pictures
from usae_viz.runs.plan import plan_objectives


@pytest.fixture(scope="module")
def demo():
    return ut.load("demo")


def share_of_chroma_near(canvas: torch.Tensor, hue: float) -> float:
    """How much of a picture's chroma has a hue (degrees) within 30 degrees."""
    near = total = 0.0
    for red, green, blue in canvas.flatten(1).T.tolist():
        h, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        total += saturation * value
        near += saturation * value * (abs((h * 360 - hue + 180) % 360 - 180) <= 30)
    return near / total


@pytest.mark.slow
@pytest.mark.parametrize(("colour", "hue"), [("red", 0), ("blue", 235)])
def test_a_colours_concept_draws_the_colour_in_every_backbone(demo, colour, hue):
    (concept,) = parse_concepts(demo, colour)
    result = uv.maximize(demo, uv.Concept(concept), steps=48, views=4)
    for name, canvas in result.images.items():
        assert share_of_chroma_near(canvas, hue) > 0.5, name
        assert result.scores.fired(name)


def test_labels_lead_to_concepts_that_follow_them(demo):
    rows = {row.concept: row for row in concept_rows(demo)}
    for label in ("red", "colour: blue", "stripes", "texture:solid"):
        (concept,) = parse_concepts(demo, label)
        assert rows[concept].follows.value.endswith(label.partition(":")[2].strip() or label)
    with pytest.raises(ValueError, match="no concept is labelled 'rde'; the nearest labels: red"):
        parse_concepts(demo, "rde")


@pytest.mark.parametrize("k", [256, 10**20])
def test_an_objective_of_a_concept_that_is_not_there_is_refused_before_it_gets_a_title(demo, k):
    """A title says what a concept follows, which only a USAE with a known truth looks up."""
    with pytest.raises(ValueError, match=f"no concept {k}; this USAE has 256, numbered 0 to 255"):
        plan_objectives(demo, [uv.Concept(k)], [uv.MaximizeSettings()])


def test_natural_patches_of_a_colours_concept_have_the_colour(demo):
    (concept,) = parse_concepts(demo, "red")
    patches = top_patch_pictures(demo, concept)
    assert set(patches) == set(demo.names)
    for own in patches.values():
        assert len(own) == 6
        red = sum(patch.convert("RGB").resize((1, 1)).getpixel((0, 0))[0] for patch in own)
        blue = sum(patch.convert("RGB").resize((1, 1)).getpixel((0, 0))[2] for patch in own)
        assert red > 1.5 * blue
