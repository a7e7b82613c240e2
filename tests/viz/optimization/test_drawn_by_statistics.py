"""Pictures are kept near the statistics of a backbone's batch norms: of classes by default, all else where asked."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import usae_viz as uv
from usae_train.backbones.feature_statistics import statistics_distances, unnaturalness
from usae_train.backbones.spec import BackboneSpec
from usae_train.model.usae import USAE
from usae_viz.export.png import read_png
from usae_viz.objectives import Class, Concept, Logit, LogProbability
from usae_viz.optimization.by_objective import settings_for
from usae_viz.runs.metadata import ImageMetadata
from usae_viz.runs.plan import plan_objectives, plan_recipe
from usae_viz.runs.recipe import RenderRecipe
from usae_viz.runs.render import render_plan
from usae_viz.runs.show import changed_since, metadata_lines, plan_again
from usae_viz.settings import MaximizeSettings

SMALL = {"views": 2, "size": 48, "steps": 6, "dtype": "float32", "mode": "per-model"}
# what is seen is what is there
LONGER = {"views": 1, "size": 48, "steps": 24, "dtype": "float32", "augmentation": "none"}
CONVOLUTIONAL = BackboneSpec(model="tf_efficientnet_lite0", weights="random", input_size=48, classes=5)
TRANSFORMER = BackboneSpec(
    model="vit_tiny_patch16_224",
    weights="random",
    input_size=48,
    classes=5,
    options={"patch_size": 24, "embed_dim": 24, "depth": 1, "num_heads": 2},
)


def untrained(**specs: BackboneSpec) -> USAE:
    """Twelve concepts over untrained networks with a classifier of five classes."""
    torch.manual_seed(0)
    widths = {name: 320 if spec is CONVOLUTIONAL else 24 for name, spec in specs.items()}
    usae = USAE(widths, n_concepts=12, k=3, specs=specs, grid=(2, 2)).eval().requires_grad_(False)
    assert {name: own.width for name, own in usae.backbones.items()} == widths
    return usae


@pytest.fixture(scope="module")
def convolutional() -> USAE:
    return untrained(left=CONVOLUTIONAL)


@pytest.fixture(scope="module")
def mixed() -> USAE:
    return untrained(left=CONVOLUTIONAL, right=TRANSFORMER)


def distance(usae: USAE, picture: torch.Tensor) -> float:
    """How far a picture's features are from natural ones, seen as a whole."""
    backbone = usae.backbones["left"]
    with torch.no_grad(), statistics_distances(backbone.model, 1, 3 * 48**2) as distances:
        backbone(picture[None])
    return unnaturalness(distances.values()).item()


def by_objective(usae: USAE, objective: uv.Objective, **settings: object) -> tuple[float | None, float | None]:
    own = settings_for(usae, objective, MaximizeSettings(**settings))
    return own.whole_first, own.feature_statistics


def keys(usae: USAE, *objectives: uv.Objective, **settings: object) -> list[str]:
    return [job.key for job in plan_objectives(usae, objectives, [MaximizeSettings(**SMALL, **settings)]).jobs]


def test_a_class_has_them_by_default_and_a_concept_does_not(convolutional, usae):
    for objective, expected in (
        (Class("left", 3), (0.3, 200.0)),
        (Concept(3), (0.0, 0.0)),
        (Class("left", 3) + Concept(3), (0.0, 0.0)),
    ):
        assert by_objective(convolutional, objective) == expected
    assert by_objective(usae, Class("left", 3)) == (0.7, 0.0)  # a transformer
    assert by_objective(convolutional, Concept(3), feature_statistics=7) == (0.0, 7.0)
    assert by_objective(convolutional, Class("left", 3), feature_statistics=0) == (0.7, 0.0)
    assert by_objective(convolutional, Class("left", 3), feature_statistics=0, whole_first=0.2) == (0.2, 0.0)


def test_beside_a_transformer_each_class_has_what_its_own_network_knows(mixed):
    assert by_objective(mixed, Class("left", 3)) == (0.3, 200.0)
    assert by_objective(mixed, Class("right", 3)) == (0.7, 0.0)
    assert by_objective(mixed, Class("left", 3) + Class("right", 3)) == (0.7, 0.0)


def test_a_picture_that_a_transformer_sees_too_comes_nearer_through_the_other_alone(mixed):
    objective = Class("left", 3) + Class("right", 3)
    far, near = (
        uv.maximize(mixed, objective, **LONGER, mode="shared", feature_statistics=weight) for weight in (0, 10_000)
    )
    assert distance(mixed, near.images["shared"]) < distance(mixed, far.images["shared"])
    apart = [uv.maximize(mixed, objective, **SMALL, whole_first=0, feature_statistics=weight) for weight in (0, 10_000)]
    assert torch.equal(apart[0].images["right"], apart[1].images["right"])
    assert not torch.equal(apart[0].images["left"], apart[1].images["left"])


@pytest.mark.parametrize("objective", [Class("left", 3), Concept(3)])
@pytest.mark.parametrize("more", [{}, {"edits": {"left": {5: 0.0, 7: ("add", 2.0)}}}])
def test_a_picture_comes_nearer_to_natural_features(convolutional, objective, more):
    how = {**LONGER, "mode": "per-model", **more}
    far, near = (uv.maximize(convolutional, objective, feature_statistics=weight, **how) for weight in (0, 10_000))
    assert distance(convolutional, near.images["left"]) < distance(convolutional, far.images["left"])
    again = uv.maximize(convolutional, objective, feature_statistics=10_000, **how)
    assert torch.equal(again.images["left"], near.images["left"])


def test_scores_of_all_steps_are_by_one_weight_so_that_a_class_that_does_not_change_settles(convolutional):
    how = {**SMALL, "steps": 30, "learning_rate": 1e-9, "augmentation": "none", "whole_first": 0}
    still = uv.maximize(convolutional, Class("left", 3), patience=5, **how)
    assert still.ended == "settled after 10 of 30 steps"


def test_in_bfloat16_they_move_a_picture_too_and_each_time_alike(convolutional):
    how = {**SMALL, "dtype": "bfloat16"}
    free, first, second = (
        uv.maximize(convolutional, Class("left", 3), feature_statistics=weight, whole_first=0, **how).images["left"]
        for weight in (0, 100, 100)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, free)


def test_edits_are_made_while_statistics_are_taken(convolutional):
    how = {**SMALL, "feature_statistics": 100}
    plain = uv.maximize(convolutional, Class("left", 3), **how)
    edited = uv.maximize(convolutional, Class("left", 3), edits={"left": {5: 9.0}}, **how)
    assert not torch.equal(plain.images["left"], edited.images["left"])


def test_a_class_from_a_photograph_has_them_where_it_is_asked(convolutional):
    start = np.random.default_rng(0).random((3, 48, 48), dtype=np.float32)
    default, free, near = (
        uv.maximize(convolutional, Class("left", 3), start=start, mode="per-model", **LONGER, **more)
        for more in ({}, {"feature_statistics": 0}, {"feature_statistics": 10_000})
    )
    assert (default.settings.whole_first, default.settings.feature_statistics) == (0.0, 0.0)
    assert torch.equal(default.images["left"], free.images["left"])
    assert distance(convolutional, near.images["left"]) < distance(convolutional, free.images["left"])


def test_what_begins_as_a_photograph_or_is_of_too_few_norms_is_free(convolutional, monkeypatch):
    assert by_objective(convolutional, Class("left", 3), start="a.png") == (0.0, 0.0)
    monkeypatch.setattr("usae_viz.optimization.by_objective.LEAST_NORMS", 100)
    assert by_objective(convolutional, Class("left", 3)) == (0.7, 0.0)
    assert by_objective(convolutional, Class("left", 3), feature_statistics=5) == (0.7, 5.0)


def test_a_list_of_both_draws_each_as_alone(convolutional):
    drawn = uv.maximize_each(convolutional, [Concept(3), Class("left", 3)], MaximizeSettings(**SMALL))
    for result, objective in zip(drawn, (Concept(3), Class("left", 3)), strict=True):
        alone = uv.maximize(convolutional, objective, **SMALL)
        assert torch.equal(result.images["left"], alone.images["left"])
    free = uv.maximize(convolutional, Class("left", 3), feature_statistics=0, whole_first=0.2, **SMALL)
    assert not torch.equal(free.images["left"], result.images["left"])


def test_without_batch_norms_it_is_refused(usae):
    line = "feature_statistics is 5, and left and right have no batch norm whose statistics can be read; leave it out"
    with pytest.raises(ValueError, match=line):
        uv.maximize(usae, Concept(3), feature_statistics=5, steps=1)


def test_what_was_used_stands_in_the_picture_its_record_and_what_is_said_of_it(convolutional, tmp_path):
    quick = MaximizeSettings(**{**SMALL, "steps": 1})
    render_plan(convolutional, plan_objectives(convolutional, [Concept(3), Class("left", 3)], [quick]), tmp_path)
    used = {"concept-00003": (0.0, 0.0), "objective-class-left-3": (0.3, 200.0)}
    for folder, numbers in used.items():
        inside = read_png(tmp_path / folder / "left.png")
        assert (inside["settings"]["whole_first"], inside["settings"]["feature_statistics"]) == numbers
    told = metadata_lines(ImageMetadata.model_validate(inside))[3]
    assert "whole_first 0.3, feature_statistics 200" in told
    runs = json.loads((tmp_path / "run.json").read_text())["runs"]
    assert [(run["whole_first"], run["feature_statistics"]) for run in runs] == list(used.values())


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (Class("left", 3), {"feature_statistics": 200}),
        (Class("left", 3), {"feature_statistics": 200, "whole_first": 0.3}),
        (Concept(3), {"feature_statistics": 0, "whole_first": 0}),
    ],
)
def test_what_comes_to_the_same_is_one_picture(convolutional, objective, told):
    assert keys(convolutional, objective, **told) == keys(convolutional, objective)
    assert keys(convolutional, objective, whole_first=0.6) != keys(convolutional, objective)
    assert keys(convolutional, objective, feature_statistics=5) != keys(convolutional, objective)


def test_keys_are_those_of_before_the_setting_but_for_what_it_changes(convolutional, monkeypatch):
    """Until 0.9 `whole_first` stood in a key as it was told, and nothing of feature statistics."""

    def as_before(settings: MaximizeSettings, **how: object) -> dict[str, object]:
        return {name: value for name, value in really(settings, **how).items() if name != "feature_statistics"}

    objectives = (Concept(3), Class("left", 3))
    today, free = keys(convolutional, *objectives), keys(convolutional, *objectives, feature_statistics=0)
    assert (today[0] == free[0], today[1] == free[1]) == (True, False)
    really = MaximizeSettings.model_dump
    monkeypatch.setattr(MaximizeSettings, "model_dump", as_before)
    monkeypatch.setattr("usae_viz.optimization.by_objective.STATISTICS_WEIGHT", 0.0)
    assert keys(convolutional, *objectives) == free


def test_a_run_is_resumed_whether_its_settings_were_told_or_not(convolutional, tmp_path, monkeypatch):
    def drawn(**told: object) -> list[bytes]:
        plan = plan_objectives(convolutional, [Concept(3), Class("left", 3)], [MaximizeSettings(**quick, **told)])
        render_plan(convolutional, plan, tmp_path / "run")
        return [(tmp_path / "run" / job.folder / "left.png").read_bytes() for job in plan.jobs]

    quick = {**SMALL, "steps": 1}
    first = drawn()
    with monkeypatch.context() as patch:
        patch.setattr("usae_viz.runs.run_writer.maximize_each", None)  # or it would fail
        assert drawn() == first
        assert drawn(feature_statistics=None, whole_first=None) == first
    class_told = plan_objectives(
        convolutional, [Class("left", 3)], [MaximizeSettings(**quick, feature_statistics=200, whole_first=0.3)]
    )
    monkeypatch.setattr("usae_viz.runs.run_writer.maximize_each", None)
    render_plan(convolutional, class_told, tmp_path / "run")
    assert (tmp_path / "run" / class_told.jobs[0].folder / "left.png").read_bytes() == first[1]


def test_a_picture_of_before_0_9_that_was_told_what_is_the_default_is_found(convolutional, tmp_path, monkeypatch):
    plan = plan_objectives(convolutional, [Concept(3)], [MaximizeSettings(**{**SMALL, "steps": 1, "whole_first": 0})])
    render_plan(convolutional, plan, tmp_path)
    ((job,), records) = plan.jobs, tmp_path / "manifest"
    (formerly,) = job.former_keys  # under which an earlier version would have kept it
    kept = json.loads((records / f"{job.key}.json").read_text())
    (records / f"{job.key}.json").unlink()
    (records / f"{formerly}.json").write_text(json.dumps({**kept, "key": formerly}))
    monkeypatch.setattr("usae_viz.runs.run_writer.maximize_each", None)
    assert [len(result.images) for result in render_plan(convolutional, plan, tmp_path)] == [1]
    (tmp_path / job.folder / "left.png").unlink()
    with pytest.raises(TypeError):
        render_plan(convolutional, plan, tmp_path)  # it would be drawn
    assert not list(records.glob("*.json"))


def test_a_variant_that_changes_classes_alone_draws_concepts_once(convolutional, tmp_path):
    recipe = {
        "usae": "demo",
        "concepts": [3],
        "objectives": ["Class('left', 3)"],
        "modes": ["per-model"],
        "variants": {"plain": {}, "free": {"feature_statistics": 0}},
    }
    plan = plan_recipe(convolutional, RenderRecipe.model_validate(recipe), tmp_path)
    assert [(job.folder, job.variant) for job in plan.jobs] == [
        ("concept-00003", "plain"),
        ("objective-class-left-3", "plain"),
        ("objective-class-left-3", "free"),
    ]
    recipe["objectives"] = []
    with pytest.raises(ValueError, match="draw the same pictures"):
        plan_recipe(convolutional, RenderRecipe.model_validate(recipe), tmp_path)


@pytest.mark.parametrize("objective", [Logit("left", 3), LogProbability("left", 3)])
def test_a_logit_of_before_0_9_is_drawn_again_as_it_was(convolutional, objective, tmp_path):
    free = uv.maximize(convolutional, objective, feature_statistics=0, **SMALL)
    settings = free.metadata("left")["settings"]
    del settings["feature_statistics"]
    inside = {**free.metadata("left"), "settings": {**settings, "whole_first": None}}
    about = ImageMetadata.model_validate(inside)
    plan = plan_again(convolutional, about, tmp_path / "a.png", allow_code=False)
    assert changed_since(tmp_path / "a.png", about, plan.jobs[0].objective) is None
    render_plan(convolutional, plan, tmp_path)
    with Image.open(tmp_path / plan.jobs[0].folder / "left.png") as again:
        free.save(tmp_path / "free")
        with Image.open(tmp_path / "free" / free.folder / "left.png") as before:
            assert again.tobytes() == before.tobytes()
