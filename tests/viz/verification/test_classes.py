"""Pictures of a class, and pictures that are scored for another concept than their own."""

import copy
import json
import pickle

import pytest
import torch

import usae_viz as uv
from usae_train.backbones.backbone import BackboneSpec
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_viz.objectives.binding import bound_in
from usae_viz.objectives.class_names import class_name
from usae_viz.optimization.checks import check_expression
from usae_viz.runs.metadata import read_metadata
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.show import metadata_lines

QUICK = {"steps": 2, "views": 1, "size": 32, "dtype": "float32"}
TINY = {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}


def spec(classes, seed):
    return BackboneSpec(
        model="vit_tiny_patch16_224", weights="random", input_size=32, classes=classes, seed=seed, options=TINY
    )


@pytest.fixture(scope="module")
def classifying():
    """Two classifiers of 7 classes, one of 5, and a backbone without; random weights."""
    specs = {"left": spec(7, 0), "right": spec(7, 1), "five": spec(5, 2), "none": spec(0, 3)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        usae = USAE(dict.fromkeys(specs, 24), 12, 3, specs=specs, grid=(4, 4))
    usae.source, usae.sha256 = "toy", "0" * 64
    return usae.eval()


@pytest.fixture(scope="module")
def drawn(classifying):
    return uv.maximize(classifying, uv.Logit("left", 4), **QUICK)


def test_a_picture_of_a_class_is_read_by_every_classifier_of_that_size(drawn, classifying):
    row = drawn.scores["left"]
    assert drawn.scores.drawn_for == {"left": ("left",)}
    assert list(row) == ["left", "right"]
    for name, own in row.items():
        assert (own.index, own.name, own.read_name) == (4, None, None)
        assert 0 < own.probability < 1
        assert 0 < own.noise < 1
        assert list(own.closer) == (["0.7", "0.5"] if name == "left" else [])
        seen = classifying.backbones[name].logits(drawn.images["left"][None]).softmax(-1)[0]
        assert own.probability == pytest.approx(seen[4].item(), abs=0.15)  # the whole picture, not the held-out views
        assert (own.rank == 1) == (own.read_as == 4)


def test_the_class_is_said_wherever_a_concept_is(drawn, tmp_path):
    folder = drawn.save(tmp_path) / drawn.folder
    kept = json.loads((folder / "scores.json").read_text())
    assert kept["concept"] is None
    verdict = kept["images"]["left"]["verdict"]
    assert verdict in ("strong", "weak", "failed")
    own = kept["images"]["left"]["backbones"]["right"]
    assert own["index"] == 4
    assert own["probability"] == drawn.scores["left"]["right"].probability
    assert json.loads((tmp_path / "run.json").read_text())["verdicts"][verdict] == 1
    about = read_metadata(folder / "left.png")
    assert about.verdict == verdict
    assert f"verdict     {verdict}" in metadata_lines(about)
    assert any("probability" in line for line in metadata_lines(about))
    assert "class 4, under views" in str(drawn.scores)
    assert drawn.scores.heat_map().width > 100
    assert (folder / "sheet.png").is_file()


def test_a_difference_of_classes_is_scored_for_what_it_asks_more_of(classifying):
    for objective in (uv.Logit("left", 2) - 0.5 * uv.Logit("left", 6), -1 * uv.Logit("left", 6) + uv.Logit("left", 2)):
        scores = uv.maximize(classifying, objective, **QUICK).scores
        assert scores["left"]["left"].index == 2


def test_pictures_of_two_classes_are_each_scored_for_their_own_backbones(classifying):
    scores = uv.maximize(classifying, uv.Logit("left", 2) + uv.Logit("five", 3), **QUICK).scores
    assert {image: {name: own.index for name, own in row.items()} for image, row in scores.table.items()} == {
        "left": {"left": 2, "right": 2},
        "five": {"five": 3},
    }
    assert "class 2 and class 3" in str(scores)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("Logit('left', 7)", "no class 7; left's classifier has 7, numbered 0 to 6"),
        ("Concept(3) + Logit('five', 6)", "no class 6; five's classifier has 5, numbered 0 to 4"),
        ("Logit('none', 0)", "none has no classifier; set `classes` in its spec, or ask one that has: left .7., right"),
    ],
)
def test_a_class_that_is_not_there_is_said_before_anything_is_drawn(classifying, objective, message):
    steps = []
    with pytest.raises(ValueError, match=message):
        uv.maximize(
            classifying, uv.parse_objective(objective), progress=lambda done, scores: steps.append(done), **QUICK
        )
    assert steps == []


def test_any_objective_can_be_scored_for_a_concept(usae):
    result = uv.maximize(usae, uv.Channel("left", 3), verify=5, **QUICK)
    assert result.scores.concept == 5
    assert result.scores.drawn_for == {"left": ("left",)}
    assert uv.maximize(usae, uv.Concept(3), verify=5, **QUICK).scores.concept == 5
    assert uv.maximize(usae, uv.Channel("left", 3), **QUICK).scores is None
    with pytest.raises(ValueError, match="no concept 12; this USAE has 12"):
        uv.maximize(usae, uv.Concept(3), verify=12, **QUICK)


def test_names_are_those_of_imagenet_where_the_size_is():
    assert class_name(1000, 207) == "golden retriever"
    assert class_name(7, 4) is None
    assert class_name(1000, 1000) is None


def test_a_class_may_be_told_by_its_name(usae):
    specs = {name: spec.model_copy(update={"classes": 1000}) for name, spec in usae.specs.items()}
    model = USAE(usae.widths, 12, 3, specs=specs, grid=usae.grid)
    named = uv.Class("left", "castle") - 0.5 * uv.Logit("right", "Palace")
    assert (named.named, named.classes) == (True, ())
    (found,) = bound_in(model, [named])
    assert str(found) == "Class('left', 483) - 0.5 * Logit('right', 698)"
    assert found.classes == (("left", 483), ("right", 698))
    assert found.numbers == {"castle of left": 483, "Palace of right": 698}
    assert pickle.loads(pickle.dumps(copy.deepcopy(found.numbers))) == found.numbers
    check_expression(model, "Class('left', 'castle')", [])
    for text, said in (
        ("Class('left', 'casle')", "no class 'casle' of left; the nearest: castle"),
        ("Class('lef', 'castle')", "unknown backbone 'lef'"),
        ("Class('left', 'crane')", "left has 2 classes 'crane': 134 and 517; give a number"),
    ):
        with pytest.raises(ValueError, match=said):
            bound_in(model, [uv.parse_objective(text)])
    with pytest.raises(ValueError, match=r"no class 'castle': left has no classifier; set `classes` in its spec"):
        check_expression(usae, "Class('left', 'castle')", [])
    with pytest.raises(ValueError, match="class 'castle' has no number yet: `maximize` looks it up, or give a number"):
        uv.Class("left", "castle")(None)


@pytest.mark.real
def test_a_picture_of_a_real_class_gets_its_name_and_probability(real):
    specs = read_specs(str(real / "specs.yaml"))
    specs = {name: specs[name] for name in ("lite0", "lite2")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        usae = USAE({"lite0": 192, "lite2": 208}, 16, 4, specs=specs, grid=(7, 7)).eval()
    result = uv.maximize(usae, uv.Class("lite0", "golden retriever"), steps=24, views=2, size=224)
    for own in result.scores["lite0"].values():
        assert own.name == "golden retriever"
    assert result.scores["lite0"]["lite0"].rank <= 5
    assert result.scores["lite0"]["lite0"].probability > 0.05 > 0.01 > result.scores["lite0"]["lite0"].noise
    assert result.scores.verdict("lite0") in ("strong", "weak")
    assert "class 207, golden retriever" in str(result.scores)
    with pytest.raises(ValueError, match="no class 1000; lite0's classifier has 1000, numbered 0 to 999"):
        plan_objectives(usae, [uv.Logit("lite0", 1000)], [uv.MaximizeSettings()])
    with pytest.raises(ValueError, match="unknown backbone 'nope'"):
        plan_objectives(usae, [uv.Logit("nope", 3)], [uv.MaximizeSettings()])
