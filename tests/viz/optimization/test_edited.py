"""Drawing through backbones with concepts edited: from Python, recipes and the command line, and what is wrong."""

import json
import re

import pytest
import torch
from typer.testing import CliRunner

import usae_train as ut
import usae_viz as uv
from usae_viz.cli import app
from usae_viz.concepts.written_edits import written_edits
from usae_viz.export.naming import title_with_edits
from usae_viz.export.png import read_png
from usae_viz.runs.plan import _resolved_variants, plan_recipe
from usae_viz.runs.recipe import RenderRecipe, RunVariant
from usae_viz.settings import MaximizeSettings
from usae_viz.views.viewing import ViewConfig, encode_views

QUICK = {"steps": 3, "views": 2, "size": 48}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (
            {"a": {12: 0, 7: ("scale", 2.0), 3: ("add", -1.5), "eyes": "*2"}},
            ("a:12=0", "a:7*2", "a:3+-1.5", "a:eyes*2"),
        ),
        ({"a": ["12=0", "eyes*2"], "b": "top:2=0"}, ("a:12=0", "a:eyes*2", "b:top:2=0")),
        ({"a": {12: ["scale", 0.1]}}, ("a:12*0.1",)),
        (["a: 12 = 0 "], ("a: 12 = 0",)),
        ("a:colour:red=0", ("a:colour:red=0",)),
        ({}, ()),
    ],
)
def test_edits_are_written_in_one_way(given, written):
    assert written_edits(given) == written
    assert written_edits(written) == written
    assert MaximizeSettings(edits=given) == MaximizeSettings(edits=list(written))


def test_what_is_shown_goes_through_the_edited_pass_and_a_gradient_with_it(usae):
    canvas = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shown, network = canvas[:, None], usae.backbones["right"]
    fires = int(usae.encode("right", network(canvas.detach())).indices.flatten()[0])
    edits = {"right": {fires: 3.0}}
    plain, edited = (encode_views(ViewConfig(usae, None, 1, edits=own), network, canvas, shown) for own in ({}, edits))
    with ut.intervene(usae, "right", edits["right"]):
        expected = network(canvas, usae.grid)
    assert torch.equal(edited.tokens[0], expected)
    assert not torch.allclose(edited.tokens, plain.tokens)
    (gradient,) = torch.autograd.grad(edited.tokens.square().sum(), canvas)
    assert gradient.abs().max() > 0
    assert torch.equal(encode_views(ViewConfig(usae, None, 1), network, canvas, shown).tokens, plain.tokens)


def test_an_edit_changes_its_own_backbones_picture_alone(usae, tmp_path):
    plain = uv.maximize(usae, uv.Concept(3), **QUICK)
    result = uv.maximize(usae, uv.Concept(3), edits={"left": {5: ("scale", 3.0)}}, **QUICK)
    assert torch.equal(plain.images["right"], result.images["right"])
    assert not torch.equal(plain.images["left"], result.images["left"])
    assert result.title == f"{plain.title}, through left with concept 5 times 3"
    result.save(tmp_path)
    inside = read_png(tmp_path / "concept-00003" / "left.png")
    assert inside["settings"]["edits"] == ["left:5*3"]


def test_a_recipe_with_edits_by_name_is_drawn_by_workers_and_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = {"schema": 1, "labels": [{"concept": 5, "name": "dust"}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "recipe.yaml").write_text(
        f"usae: {folder}\nlabels: labels.json\nconcepts: [3]\nsettings: {{steps: 2, views: 1, size: 48}}\n"
        "variants:\n  plain: {}\n  without: {edits: {left: {dust: 0}}}\n"
    )
    for workers in (1, 2):
        assert run("render", "recipe.yaml", "-q", "--out", f"run{workers}", "--workers", workers).exit_code == 0
    room = tmp_path / "run1" / "concept-00003"
    names = ["plain-left.png", "without-left.png", "without-right.png"]
    assert all((room / name).read_bytes() == (tmp_path / "run2" / room.name / name).read_bytes() for name in names)
    assert read_png(room / "without-left.png")["settings"]["edits"] == ["left:5=0"]
    assert read_png(room / "sheet.png")["title"].endswith("; without: through left without concept 5")
    assert run("render", room / "without-left.png", "-q", "--out", "again").exit_code == 0
    again = read_png(tmp_path / "again" / "concept-00003" / "left.png")
    assert again["scores"] == read_png(room / "without-left.png")["scores"]
    words = [
        "--usae",
        folder,
        "-c",
        "3",
        "--steps",
        "2",
        "--views",
        "1",
        "--size",
        "48",
        "-q",
        "--labels",
        "labels.json",
    ]
    done = run("maximize", *words, "--edit", "left:dust=0", "--out", "typed")
    assert done.exit_code == 0, done.stderr
    assert read_png(tmp_path / "typed" / "concept-00003" / "left.png")["settings"]["edits"] == ["left:5=0"]


def test_the_key_is_of_the_edits_and_without_any_as_it_was(usae, tmp_path):
    def key(edits):
        recipe = RenderRecipe(concepts=[3], settings={**QUICK, **({} if edits is None else {"edits": edits})})
        return plan_recipe(usae, recipe, tmp_path).jobs[0].key

    assert key(None) == key({})
    (way,) = _resolved_variants(usae, [RunVariant(None, MaximizeSettings(**QUICK))], ()).values()
    assert not {"edits", "transforms", "verify"} & set(way.content["settings"])  # as in keys of earlier versions
    assert key(None) != key({"left": {5: 0}})
    assert key({"left": {5: 0}}) == key(["left:5=0.0"]) != key({"left": {5: 1}})


def test_a_title_says_what_is_edited_in_which_variant(usae):
    edited = MaximizeSettings(edits={"left": {5: 0, 4: 2.5, 3: 0}, "right": {1: ("scale", 2)}})
    words = "left without concepts 5, 3, with concept 4 at 2.5 and right with concept 1 times 2"
    assert title_with_edits("T", usae, {None: MaximizeSettings()}) == "T"
    assert title_with_edits("T", usae, {"a": edited, "b": edited}) == f"T, through {words}"
    assert title_with_edits("T", usae, {"a": MaximizeSettings(), "b": edited}) == f"T; b: through {words}"


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ({"left": {5: -(10**400)}}, "the edit of concept 5 has -inf; expected a number from"),
        ({"lefd": {5: 0}}, "unknown backbone 'lefd'"),
        ({"left": {12: 0}}, "no concept 12; this USAE has 12"),
        ({"left": {"stripes": 0}}, "no concept 'stripes'"),
        ({"left": {5: float("nan")}}, "the edit of concept 5 has nan"),
        ({"left": {5: 1e9}}, "the edit of concept 5 has 1000000000.0"),
        ({"left": {5: True}}, "the edit of 5 is True; expected `BACKBONE:CONCEPT=NUMBER`"),
        ({"left": {5: ("boost", 2)}}, "the edit of 5 is ('boost', 2); expected"),
        ({"left": 5}, "the edit 5 of left: expected"),
        (["left:5=0", "left:5*2"], "concept 5 is edited twice"),
        (["5=0"], "the edit '5=0': expected `BACKBONE:CONCEPT=NUMBER`"),
        (3, "expected `BACKBONE:CONCEPT=NUMBER`"),
    ],
)
def test_a_wrong_edit_is_one_line(usae, edits, why):
    with pytest.raises(ValueError, match=re.escape(why)) as raised:
        uv.maximize(usae, uv.Concept(3), edits=edits, **QUICK)
    assert "\n" not in str(raised.value)


def test_an_edit_of_a_backbone_that_nothing_is_drawn_through_is_refused(usae, tmp_path):
    objective = uv.Channel("left", 3)
    with pytest.raises(ValueError, match="edits of right change nothing: the objectives are drawn through left alone"):
        uv.maximize(usae, objective, edits={"right": {5: 0}}, **QUICK)
    recipe = RenderRecipe(objectives=["Channel('left', 3)"], settings={**QUICK, "edits": {"right": {5: 0}}})
    with pytest.raises(ValueError, match="edits of right change nothing"):
        plan_recipe(usae, recipe, tmp_path)
