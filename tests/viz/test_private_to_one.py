"""What one backbone alone sees: listed, drawn through that backbone, and refused where it cannot be."""

import json

import pytest
from typer.testing import CliRunner

import usae_train as ut
import usae_viz as uv
import usae_viz.cli
from usae_viz.concepts.caption import caption
from usae_viz.concepts.ranking import concept_rows
from usae_viz.explorer.columns import concept_columns
from usae_viz.objectives.binding import bound_in
from usae_viz.optimization.drawing import canvas_specs
from usae_viz.settings import MaximizeSettings


@pytest.fixture(scope="module")
def place(owned, tmp_path_factory):
    return str(ut.save(owned, tmp_path_factory.mktemp("usae") / "owned"))


def listed(*words):
    return CliRunner().invoke(usae_viz.cli.app, ["concepts", *words])


def test_they_are_a_list(owned, place, usae, folder):
    rows = json.loads(listed("--usae", place, "--private", "right", "--json").stdout)
    assert sorted(row["concept"] for row in rows) == [10, 11]
    assert {row["private"] for row in rows} == {"right"}
    assert [row["energy"] for row in rows] == sorted((row["energy"] for row in rows), reverse=True)
    assert all(row["firing_share"][0] == 0 == row["universality"] for row in rows)
    done = listed("--usae", place, "--private", "left")
    assert "2 of 2 concepts that left alone has, by energy" in done.stdout
    assert "-0.00" not in done.stdout
    every = json.loads(listed("--usae", place, "--json").stdout)
    assert {row["concept"]: row.get("private") for row in every if row["concept"] > 6} == {
        7: None, 8: "left", 9: "left", 10: "right", 11: "right",
    }  # fmt: skip
    for words, why in (
        (("--usae", folder, "--private", "left"), "this USAE has no private concepts"),
        (("--usae", place, "--private", "lef"), "unknown backbone 'lef'; this USAE has left, right; did you mean"),
    ):
        done = listed(*words)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert why in done.stderr
    table = uv.concept_table(owned, private="left")
    assert sorted(table["concept"]) == [8, 9]
    assert "private" in list(table.columns)
    assert "private" not in list(uv.concept_table(usae).columns)
    assert [row.concept for row in concept_rows(owned, "index", private="left")] == [8, 9]
    assert caption(owned, 9) == "concept 9: private to left"
    columns = {column.key: column.values for column in concept_columns(owned, range(12))}
    assert columns["private.left"] == [0.0] * 8 + [1.0, 1.0, 0.0, 0.0]


def test_one_is_drawn_through_its_own_backbone_alone(owned):
    (bound,) = bound_in(owned, [uv.Concept(10)])
    assert (bound.backbones, str(bound)) == (("right",), "Concept(10)")
    (mixed,) = bound_in(owned, [uv.Concept(1) - 0.5 * uv.Concept(8)])
    assert mixed.backbones == ("left",)
    (shared,) = bound_in(owned, [kept := uv.Concept(1)])
    assert shared is kept
    drawn = canvas_specs(owned, bound, MaximizeSettings(mode="shared", seeds=2))
    assert {spec.backbones for spec in drawn} == {("right",)}
    result = uv.maximize(owned, uv.Concept(10), steps=2, views=1, size=48, quiet=True)
    assert list(result.images) == ["right"]
    assert result.scores["right"]["left"].code == 0
    for objective, why in (
        (uv.Concept(8, backbone="right"), "concept 8 is private to left, and right cannot see it"),
        (uv.Concept(8) + uv.Concept(10), "its concepts are private, 8 to left, 10 to right; no backbone sees all"),
    ):
        with pytest.raises(ValueError, match=why) as caught:
            uv.maximize(owned, objective, steps=1, quiet=True)
        assert "\n" not in str(caught.value)
    both = uv.Concept(8, backbone="left") + uv.Concept(10, backbone="right")
    assert bound_in(owned, [both])[0].backbones == ("left", "right")


def test_too_many_are_refused_before_a_picture_is_looked_at(usae, monkeypatch):
    source = ut.open_images("demo", limit=4)
    monkeypatch.setattr(type(source), "read_together", None)
    with pytest.raises(ValueError, match=r"private is 6, for each of 2 backbones, of 12 concepts; expected some"):
        ut.fit(source, backbones=usae.backbones, n_concepts=12, k=3, n_private=6, quiet=True)


def test_a_run_of_several_has_the_pictures_that_there_are(place, tmp_path):
    words = ["maximize", "--usae", place, "-c", "1,10", "--steps", "2", "--views", "1", "--size", "48", "-q"]
    done = CliRunner().invoke(usae_viz.cli.app, [*words, "-o", str(tmp_path / "run")])
    assert done.exit_code in (0, 1), done.stderr  # pictures of two steps may have failed, and are there
    found = {folder.name: sorted(file.stem for file in folder.glob("*.png")) for folder in tmp_path.glob("run/con*")}
    assert found == {"concept-00001": ["left", "right", "sheet"], "concept-00010": ["right", "sheet"]}
