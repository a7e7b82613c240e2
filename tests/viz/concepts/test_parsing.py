"""One syntax for concepts, wherever they are written: the same table on the command line, in recipes and in Python."""

import json

import numpy as np
import pytest
import torch

import usae_viz as uv
from usae_train.interventions.edits import parse_edits
from usae_viz.commands.drawing_commands import _objectives
from usae_viz.concepts.edit_text import parse_edit_texts
from usae_viz.concepts.labels import labels_of
from usae_viz.concepts.parsing import one_concept, parse_concepts
from usae_viz.concepts.selection import select
from usae_viz.objectives.binding import bound_in
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe

# What is written, and what it means in the tiny USAE with the names below.
TABLE = {
    "3": [3],
    " 3 , 1": [3, 1],
    "4-6": [4, 5, 6],
    "4 - 6, 5, 0": [4, 5, 6, 0],
    "all": list(range(12)),
    "warm reds": [7],
    "WarmReds, 2": [7, 2],
    "warm*": [7, 8],
    "twins": [1, 9],
    "favourites": [9],
    "7-8": [7, 8],
    "4\u20136, 4\u20145, 7 \u2212 7": [4, 5, 6, 7],  # the dashes that editors make of a hyphen
    "ALL": list(range(12)),
}
WRONG = {
    "12": "no concept 12; this USAE has 12, numbered 0 to 11",
    "-1": "no concept -1; this USAE has 12",
    "6-4": "concepts '6-4': expected the smaller number first",
    "9-12": "no concept 12; this USAE has 12",
    "top:0": "'top:0': expected top: and a number from 1 to 12",
    "top:": "'top:': expected top: and a number from 1 to 12",
    "cold": "no concept is labelled 'cold'; the nearest labels:",
    "cold*": r"no label matches 'cold\*'; labels are warmreds",
    " , ": "no concept in ' , '; expected an index, a range such as 40-42, `top:8` or a label",
    "9" * 5000: "a number of 5000 digits",
}
LABELS = [(7, "warm reds"), (8, "warm"), (1, "twins"), (9, "twins"), (11, "7-8-inch")]


@pytest.fixture
def labels_file(tmp_path):
    labels = [{"concept": k, "name": name, "favourite": k == 9, "note": ""} for k, name in LABELS]
    (tmp_path / "labels.json").write_text(json.dumps({"schema": 1, "labels": labels}))
    return str(tmp_path / "labels.json")


@pytest.mark.parametrize("text", TABLE)
def test_it_means_the_same_everywhere(usae, labels_file, tmp_path, text):
    labels = labels_of(usae, labels_file)
    assert parse_concepts(usae, text, labels) == TABLE[text]
    assert [each.concepts[0] for each in _objectives(usae, [text], [], labels_file)] == TABLE[text]
    recipe = RenderRecipe(concepts=[text], labels=labels_file, settings={"size": 16, "steps": 1})
    assert [each.objective.concepts[0] for each in plan_recipe(usae, recipe, tmp_path).jobs] == TABLE[text]
    assert list(parse_edit_texts(usae, [f"{text}=0"], labels)) == TABLE[text]
    if len(TABLE[text]) == 1:
        assert bound_in(usae, [uv.Concept(text)], labels)[0].concepts == (TABLE[text][0],)
        assert one_concept(usae, text, labels) == TABLE[text][0]


def test_the_most_universal_first(usae):
    assert parse_concepts(usae, "top:3") == parse_concepts(usae, "top:12")[:3]
    assert sorted(parse_concepts(usae, "top: 12")) == list(range(12))
    assert parse_concepts(usae, "TOP:3") == parse_concepts(usae, "Top : 3") == parse_concepts(usae, "top:3")


@pytest.mark.parametrize("text", WRONG)
def test_what_means_nothing_is_told(usae, labels_file, text):
    with pytest.raises(ValueError, match=WRONG[text]):
        parse_concepts(usae, text, labels_of(usae, labels_file))


def test_where_one_is_wanted_several_are_told(usae, labels_file):
    labels = labels_of(usae, labels_file)
    with pytest.raises(ValueError, match="'twins' is 2 concepts, 1, 9; expected one: give its number"):
        bound_in(usae, [uv.Concept("twins")], labels)
    with pytest.raises(ValueError, match=r"'all' is 12 concepts, 0, 1, 2, 3, 4, 5, ...; expected one"):
        one_concept(usae, "all", labels)


def test_an_objective_keeps_its_form_when_names_become_numbers(usae, labels_file):
    labels = labels_of(usae, labels_file)
    written = 2 * uv.Concept("warm", pool="max") - uv.Concept("warm reds", backbone="left") / 3 + uv.L2() * 0.5
    assert uv.parse_objective(str(written)).bound(lambda name: 0).name == written.bound(lambda name: 0).name
    (bound,) = bound_in(usae, [written], labels)
    assert str(bound) == "2 * Concept(8, pool='max') - Concept(7, backbone='left') / 3 + L2() * 0.5"
    assert bound.concepts == (8, 7)
    assert bound.minimized >= {7}
    assert bound_in(usae, [bound]) == [bound]


def test_a_named_concept_is_drawn_by_its_number(usae, labels_file):
    drawn = uv.maximize(usae, uv.Concept("warm reds"), labels=labels_file, steps=1, views=1, size=16)
    assert str(drawn.objective) == "Concept(7)"
    assert drawn.scores.concept == 7
    with pytest.raises(ValueError, match="no concept 'warm reds': this USAE has no labels"):
        uv.maximize(usae, uv.Concept("warm reds"), steps=1)


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_any_type_are_taken_as_what_they_are(usae, three):
    assert one_concept(usae, three) == select(usae, three)[0] == uv.Concept(three).concepts[0] == 3
    if not isinstance(three, torch.Tensor):  # a key by what it is, not by what it says
        assert list(parse_edits(usae, {three: 0.0})) == [3]
    assert type(one_concept(usae, three)) is int


@pytest.mark.parametrize("other", [True, np.bool_(True), torch.tensor(True), 3.0, np.float32(3), None, [3], (3,), b"3"])
def test_what_is_no_whole_number_and_no_name_is_one_line(usae, other):
    for take in (lambda: one_concept(usae, other), lambda: select(usae, other), lambda: uv.Concept(other)):
        with pytest.raises(ValueError, match=r"^concept .*: expected a whole number") as refusal:
            take()
        assert "\n" not in str(refusal.value)


def test_true_is_no_number_of_a_setting(usae):
    with pytest.raises(ValueError, match=r"^steps = True: expected a number$"):
        uv.maximize(usae, uv.Concept(3), steps=True)
    with pytest.raises(ValueError, match=r"^verify = True: expected a number$"):
        uv.maximize(usae, uv.Concept(3), verify=True, steps=1)
