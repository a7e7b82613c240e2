import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import usae_train as ut
from usae_viz.cli import app
from usae_viz.concepts.caption import caption
from usae_viz.concepts.labels import Label, concepts_by_name, labels_of, names_and_notes, read_labels, replace_names
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.concepts.selection import select

LABELS = [
    {"concept": 3, "name": "Warm reds", "favourite": True, "note": "[bold]"},
    {"concept": 7, "name": "warm  reds", "favourite": False, "note": ""},
    {"concept": 5, "name": "", "favourite": True, "note": "no name"},
]


@pytest.fixture
def written(tmp_path):
    def write(**change):
        file = tmp_path / "labels.json"
        file.write_text(json.dumps({"schema": 1, "usae": "tiny", "usae_sha256": None, "labels": LABELS} | change))
        return str(file)

    return write


def test_names_stand_for_numbers():
    labels = [Label(**label) for label in LABELS]
    assert concepts_by_name(labels) == {"warmreds": [3, 7], "favourites": [3, 5]}
    assert replace_names("WARM REDS , 2, top:3,stripes", concepts_by_name(labels)) == "3,7,2,top:3,stripes"
    assert replace_names("favourites", concepts_by_name(labels)) == "3,5"
    assert names_and_notes(labels) == {
        3: {"name": "Warm reds", "note": "[bold]"},
        7: {"name": "warm  reds", "note": ""},
    }


def test_labels_that_an_editor_saved_with_a_byte_order_mark_are_read(usae, written):
    file = Path(written())
    plain = read_labels(file, usae)
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert read_labels(file, usae) == plain


def test_a_name_is_drawn_and_listed(folder, written, tmp_path):
    quick = ["--steps", "1", "--views", "1", "--size", "32", "-q", "--usae", folder]
    words = ["maximize", "-c", "warm reds", "--labels", written(), "-o", str(tmp_path / "run"), *quick]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert {each.name for each in (tmp_path / "run").glob("concept-*")} == {"concept-00003", "concept-00007"}
    listed = CliRunner().invoke(app, ["concepts", "--usae", folder, "--labels", written(), "--sort", "index"])
    assert "Warm reds" in listed.output
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [favourites]\nsettings: {{steps: 1, views: 1, size: 32}}\n")
    done = CliRunner().invoke(app, ["render", str(recipe), "--labels", written(), "-o", str(tmp_path / "two"), "-q"])
    assert done.exit_code == 0, done.output
    assert {each.name for each in (tmp_path / "two").glob("concept-*")} == {"concept-00003", "concept-00005"}
    recipe.write_text(
        f"usae: {folder}\nlabels: labels.json\nconcepts: [warm reds, 2]\nsettings: {{steps: 1, views: 1, size: 32}}\n"
    )
    done = CliRunner().invoke(app, ["render", str(recipe), "-o", str(tmp_path / "three"), "-q"])
    assert done.exit_code == 0, done.output
    found = {each.name for each in (tmp_path / "three").glob("concept-*")}
    assert found == {"concept-00002", "concept-00003", "concept-00007"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema: expected 1"),
        ({"labels": [{"concept": 3, "nmae": "x"}]}, "labels.0.nmae: unknown name"),
        ({"labels": [{"concept": -1}]}, "labels.0.concept: expected at least 0"),
        ({"labels": [{"concept": 12, "name": "x"}]}, "no concept 12; this USAE has 12"),
        ({"labels": [{"concept": 3, "name": "a, b"}]}, 'concept 3 cannot be called "a, b": a comma separates concepts'),
        ({"labels": [{"concept": 3, "name": "17"}]}, 'cannot be called "17": a number is'),
        ({"labels": [{"concept": 3, "name": "7 - 8"}]}, 'cannot be called "7 - 8": it is a range of concepts where'),
        ({"labels": [{"concept": 3, "name": "7\u20138"}]}, 'cannot be called "7\u20138": it is a range'),
        ({"labels": [{"concept": 3, "name": "re*"}]}, 'cannot be called "re*": * makes a pattern of names'),
        ({"labels": [{"concept": 3, "name": "dog?"}]}, 'cannot be called "dog?": ? makes a pattern'),
        ({"labels": [{"concept": 3, "name": "a[b"}]}, 'cannot be called "a[b": [ makes a pattern'),
        ({"labels": [{"concept": 3, "name": "Top: 8"}]}, 'cannot be called "Top: 8": top: takes'),
        ({"labels": [{"concept": 3, "name": "Favourites"}]}, 'cannot be called "Favourites": favourites has a meaning'),
        ({"usae_sha256": "f" * 64}, "names concepts of another USAE (tiny, sha256 ffffffffffff)"),
    ],
)
def test_wrong_labels_are_one_line(folder, written, change, message):
    done = CliRunner().invoke(app, ["maximize", "-c", "3", "--usae", folder, "--labels", written(**change)])
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_none_is_said(usae, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json cannot be read"):
        read_labels(tmp_path / "nowhere.json", usae)
    (tmp_path / "torn.json").write_text('{"schema": 1')
    with pytest.raises(ValueError, match=r"torn\.json cannot be read: Expecting"):
        read_labels(tmp_path / "torn.json", usae)


@pytest.fixture
def named_folder(folder, tmp_path):
    """A USAE that comes with names."""
    place = tmp_path / "named"
    shutil.copytree(folder, place)
    labels = [{"concept": 3, "name": "Eyes in fur", "note": "of cats"}, {"concept": 7, "name": "grass"}]
    (place / "labels.json").write_text(json.dumps({"schema": 1, "labels": labels}))
    return place


def test_a_usaes_own_names_need_no_file(named_folder, written):
    usae = ut.load(named_folder)
    assert parse_concepts(usae, "eyes in FUR, 2, grass") == [3, 2, 7]
    assert select(usae, "*fur*") == [3]
    assert caption(usae, 3) == "concept 3: Eyes in fur"
    assert caption(usae, 4) == "concept 4"
    listed = CliRunner().invoke(app, ["concepts", "--usae", str(named_folder), "--named", "--json"])
    assert {row["concept"]: row["name"] for row in json.loads(listed.output)} == {3: "Eyes in fur", 7: "grass"}
    both = labels_of(usae, written())
    assert names_and_notes(both)[3]["name"] == "Warm reds"  # the reader's goes before the USAE's
    assert parse_concepts(usae, "eyesinfur, warm reds", both) == [3, 7]


def test_a_usaes_own_names_of_before_there_were_rules_are_left_out_in_one_line(named_folder):
    labels = [
        {"concept": 3, "name": "re*", "note": "of old"},
        {"concept": 5, "name": "1-4"},
        {"concept": 7, "name": "a"},
    ]
    (named_folder / "labels.json").write_text(json.dumps({"schema": 1, "labels": labels}))
    with pytest.warns(
        UserWarning, match=r'cannot be called "re\*": \* makes .* \(and 1 name more\); it has no name for now'
    ):
        found = labels_of(ut.load(named_folder))
    assert [(label.concept, label.name, label.note) for label in found] == [
        (3, "", "of old"),
        (5, "", ""),
        (7, "a", ""),
    ]
    listed = CliRunner().invoke(app, ["concepts", "--usae", str(named_folder), "--named", "--json"])
    assert {row["concept"]: row["name"] for row in json.loads(listed.stdout)} == {7: "a"}
    assert listed.stderr.count('cannot be called "re*"') == 1


def test_a_name_that_there_is_not_says_the_nearest(named_folder, tmp_path):
    done = CliRunner().invoke(
        app, ["maximize", "-c", "eyes in furr", "--usae", str(named_folder), "-o", str(tmp_path / "x")]
    )
    assert done.exit_code == 1
    assert "no concept is labelled 'eyes in furr'; the nearest labels: Eyes in fur" in done.output
    assert not (tmp_path / "x").exists()


def test_a_usae_that_is_saved_elsewhere_keeps_its_names(named_folder, tmp_path):
    file = named_folder / "labels.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "usae_sha256": ut.load(named_folder).sha256}))
    ut.save(ut.load(named_folder), tmp_path / "half", half=True)  # other weights, to the bit
    assert parse_concepts(ut.load(tmp_path / "half"), "grass") == [7]
