"""Pictures are held to the statistics of a backbone's batch norms: classes by default, all else where it is asked."""

import pytest
import torch

import usae_viz as uv
from usae_train.backbones.feature_statistics import distances_from_natural
from usae_train.backbones.spec import BackboneSpec
from usae_train.model.usae import USAE
from usae_viz.objectives import Class, Concept
from usae_viz.optimization.by_objective import by_objective
from usae_viz.runs.plan import plan_objectives
from usae_viz.settings import MaximizeSettings

SMALL = {"views": 2, "size": 48, "steps": 6, "dtype": "float32", "mode": "per-model"}


@pytest.fixture(scope="module")
def convolutional() -> USAE:
    """An untrained USAE over a small convolutional network with a classifier of five classes."""
    torch.manual_seed(0)
    spec = BackboneSpec(model="tf_efficientnet_lite0", weights="random", input_size=48, classes=5)
    usae = USAE({"left": 320}, n_concepts=12, k=3, specs={"left": spec}, grid=(2, 2)).eval().requires_grad_(False)
    assert usae.backbones["left"].width == 320
    return usae


def distance(usae: USAE, result: uv.Result) -> float:
    """How far a picture's features are from natural ones, seen as a whole."""
    backbone = usae.backbones["left"]
    with torch.no_grad(), distances_from_natural(backbone.model, 1, 10**9) as distances:
        backbone(result.images["left"][None])
    return torch.stack(distances).mean().item()


def test_a_class_is_held_by_default_and_a_concept_is_not(convolutional, usae):
    for objective, expected in (
        (Class("left", 3), (0.3, 100.0)),
        (Concept(3), (0.0, 0.0)),
        (Class("left", 3) + Concept(3), (0.0, 0.0)),
    ):
        assert by_objective(convolutional, objective, MaximizeSettings()) == expected
    assert by_objective(usae, Class("left", 3), MaximizeSettings()) == (0.7, 0.0)  # a transformer
    assert by_objective(convolutional, Concept(3), MaximizeSettings(feature_statistics=7)) == (0.0, 7.0)
    assert by_objective(convolutional, Class("left", 3), MaximizeSettings(feature_statistics=0)) == (0.7, 0.0)


@pytest.mark.parametrize("objective", [Class("left", 3), Concept(3)])
def test_what_is_held_comes_nearer_to_natural_features(convolutional, objective):
    free, held = (
        uv.maximize(convolutional, objective, feature_statistics=strength, **SMALL) for strength in (0, 10_000)
    )
    assert distance(convolutional, held) < distance(convolutional, free)
    again = uv.maximize(convolutional, objective, feature_statistics=10_000, **SMALL)
    assert torch.equal(again.images["left"], held.images["left"])


def test_a_concepts_key_is_that_of_settings_without_the_field_and_a_classs_is_not(convolutional, monkeypatch):
    def keys() -> list[str]:
        planned = plan_objectives(convolutional, [Concept(3), Class("left", 3)], [MaximizeSettings(mode="per-model")])
        return [job.key for job in planned.jobs]

    def without(settings: MaximizeSettings, **how: object) -> dict[str, object]:
        return {name: value for name, value in really(settings, **how).items() if name != "feature_statistics"}

    today, really = keys(), MaximizeSettings.model_dump
    monkeypatch.setattr(MaximizeSettings, "model_dump", without)
    assert keys() == today  # it is not among a key's settings unless it is given
    monkeypatch.setattr("usae_viz.optimization.by_objective.FEATURE_STATISTICS", 0.0)
    assert keys()[0] == today[0]
    assert keys()[1] != today[1]


def test_what_begins_as_a_photograph_or_is_of_too_few_norms_is_free(convolutional, monkeypatch):
    assert by_objective(convolutional, Class("left", 3), MaximizeSettings(start="a.png")) == (0.0, 0.0)
    monkeypatch.setattr("usae_viz.optimization.by_objective.LEAST_NORMS", 100)
    assert by_objective(convolutional, Class("left", 3), MaximizeSettings()) == (0.7, 0.0)
    assert by_objective(convolutional, Class("left", 3), MaximizeSettings(feature_statistics=5)) == (0.7, 5.0)


def test_a_list_of_both_draws_each_as_alone(convolutional):
    drawn = uv.maximize_each(convolutional, [Concept(3), Class("left", 3)], MaximizeSettings(**SMALL))
    for result, objective in zip(drawn, (Concept(3), Class("left", 3)), strict=True):
        alone = uv.maximize(convolutional, objective, **SMALL)
        assert torch.equal(result.images["left"], alone.images["left"])
    free = uv.maximize(convolutional, Class("left", 3), feature_statistics=0, whole_first=0.3, **SMALL)
    assert not torch.equal(free.images["left"], result.images["left"])


def test_without_batch_norms_it_is_refused(usae):
    line = "feature_statistics is 5, and left and right have no batch norm whose statistics can be read; leave it out"
    with pytest.raises(ValueError, match=line):
        uv.maximize(usae, Concept(3), feature_statistics=5, steps=1)
