"""Objectives of a class: what the backbone's own classifier says."""

import pytest
import torch

import usae_viz as uv
from usae_train.backbones.backbone import build_backbones
from usae_train.model.usae import USAE
from usae_viz.objectives import (
    Activations,
    Class,
    Closeness,
    Concept,
    Logit,
    LogProbability,
    SameCodes,
)
from usae_viz.optimization.by_objective import settings_for
from usae_viz.optimization.loop import CanvasSpec, optimize
from usae_viz.parameterizations import FourierImage
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import AUGMENTATION_PRESETS
from usae_viz.views.viewing import ViewConfig


@pytest.fixture(scope="module")
def classifying(usae):
    """The left backbone of the tiny USAE, with a classifier of five random classes."""
    specs = {"left": usae.specs["left"].model_copy(update={"classes": 5})}
    model = USAE({"left": 24}, n_concepts=12, k=3, specs=specs, grid=usae.grid).requires_grad_(False)
    return model, build_backbones(specs)["left"]


def test_a_logit_is_what_the_backbones_own_classifier_says(classifying):
    model, backbone = classifying
    views = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    acts = Activations(model, "left", views[:, 0], views, torch.zeros(2, 3, 16, 24))
    by_hand = backbone.model((views.flatten(0, 1) - backbone.mean) / backbone.std).view(2, 3, 5)[..., 4].mean(1)
    assert torch.allclose(Logit("left", 4)(acts), by_hand, atol=1e-5)
    shares = torch.stack([LogProbability("left", each)(acts).exp() for each in range(5)])
    assert shares.argmax(0).tolist() == torch.stack([Logit("left", each)(acts) for each in range(5)]).argmax(0).tolist()
    logits = backbone.model((views[:, :1].flatten(0, 1) - backbone.mean) / backbone.std)
    one = Activations(model, "left", views[:, 0], views[:, :1], torch.zeros(2, 1, 16, 24))
    assert torch.allclose(LogProbability("left", 4)(one), logits.softmax(-1)[:, 4].log(), atol=1e-5)
    exponents = (logits / 3).exp()
    by_hand = logits[:, 4] + 3 * (exponents[:, 4] / exponents.sum(1)).log()
    assert torch.allclose(Class("left", 4)(one), by_hand, atol=1e-5)
    assert Class("left", 4).classes == (Logit("left", 4) + LogProbability("left", 4)).classes
    for kind in (Logit, LogProbability, Class):
        assert kind("right", 4)(acts).tolist() == [0, 0]
        with pytest.raises(ValueError, match="no class 5; left's classifier has 5"):
            kind("left", 5)(acts)


def test_maximizing_a_logit_raises_it_and_without_a_classifier_there_is_one_clear_error(classifying, usae):
    model, backbone = classifying
    settings = {"views": 2, "size": 32, "dtype": "float32"}
    start = uv.maximize(model, Logit("left", 4), steps=1, learning_rate=1e-6, **settings)
    drawn = uv.maximize(model, Logit("left", 4), steps=16, **settings)
    assert drawn.scores["left"]["left"].probability > start.scores["left"]["left"].probability
    before, after = (backbone.logits(result.images["left"][None])[0, 4] for result in (start, drawn))
    assert after > before + 0.05
    with pytest.raises(ValueError, match=r"no class 4: left has no classifier; set `classes` in its spec"):
        uv.maximize(usae, Logit("left", 4), steps=1, **settings)


def test_a_logit_comes_from_the_pass_that_the_tokens_come_from(classifying):
    model, _ = classifying
    runs, steps = [], 4
    view_config = ViewConfig(model, AUGMENTATION_PRESETS["default"].for_patches(0.25), 1)
    handle = model.backbones["left"].model.patch_embed.register_forward_hook(lambda *passed: runs.append(1))
    try:
        for objective in (Logit("left", 4), Concept(3) + 2 * Logit("left", 1), Concept(3)):
            runs.clear()
            optimize(
                view_config,
                FourierImage([0], 32),
                [CanvasSpec("left", objective, 0, ("left",))],
                steps=steps,
                learning_rate=0.1,
            )
            assert len(runs) == steps
    finally:
        handle.remove()


def test_a_class_is_shown_nearly_whole_first_and_then_from_nearer_than_a_concept(classifying):
    (model, _), settings = classifying, MaximizeSettings()
    for objective, expected in ((Logit("left", 4), 0.7), (Concept(3), 0), (Concept(3) + Logit("left", 4), 0)):
        assert settings_for(model, objective, settings).whole_first == expected
    assert settings_for(model, Logit("left", 4), MaximizeSettings(whole_first=0.2)).whole_first == 0.2
    crops = [Logit("left", 4), Concept(3), SameCodes(), Concept(3) - Closeness()]
    crops = [settings_for(model, objective, settings).augmentation.crop for objective in crops]
    assert crops == [(0.2, 1.0), (0.5, 1.0), (0.2, 1.0), (0.2, 1.0)]
    for changes, crop in (
        ({"start": "photograph.png"}, (0.2, 1.0)),
        ({"augmentation": {"crop": (0.3, 0.9)}}, (0.3, 0.9)),
        ({"augmentation": "lucid"}, (0.9, 1.0)),
        ({"transforms": [lambda views, generator: views]}, None),
    ):
        assert settings_for(model, Concept(3), MaximizeSettings(**changes)).augmentation.crop == crop
    of_class = settings_for(model, Logit("left", 4), settings).augmentation
    view_config = ViewConfig(None, of_class, 1, whole_first=0.5)
    assert [view_config.at(passed).augmentation.crop for passed in (0, 0.49, 0.5)] == [
        (0.6, 1.0),
        (0.6, 1.0),
        (0.2, 1.0),
    ]


def test_what_asks_for_logits_says_so_in_any_sum():
    assert (Concept(3) - 2 * Logit("left", 1) + 1).classifies == {"left"}
    assert not Concept(3).classifies
