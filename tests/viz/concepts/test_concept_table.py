"""`uv.concept_table`: with pandas a data frame, without it a table of the same columns."""

import pytest

import usae_train as ut
import usae_viz as uv
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.concepts import table as home
from usae_viz.concepts.ranking import concept_rows
from usae_viz.objectives.binding import bound_in

pandas = pytest.importorskip("pandas")


@pytest.fixture
def without_pandas(monkeypatch):
    monkeypatch.setattr(home, "find_spec", lambda name: None)


def test_a_data_frame_has_what_the_command_lists():
    usae = ut.load("demo")
    frame = uv.concept_table(usae, "auroc", top=5)
    rows = concept_rows(usae, "auroc", 5)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["concept"]) == [row.concept for row in rows]
    assert list(frame["follows"]) == [row.follows.value for row in rows]
    assert list(frame["fires dino"]) == [row.firing_share[usae.names.index("dino")] for row in rows]
    assert len(uv.concept_table(usae)) == usae.n_concepts


@pytest.mark.usefixtures("without_pandas")
def test_without_pandas_the_columns_are_the_same():
    usae = ut.load("demo")
    table = uv.concept_table(usae, top=3)
    assert table.columns == (
        "concept", "name", "universality", "entropy", "energy", "fires vit", "fires dino", "fires siglip", "follows",
        "auroc",
    )  # fmt: skip
    assert table["concept"] == [row.concept for row in concept_rows(usae, top=3)]
    assert "demo: concepts by universality" in str(table)


@pytest.mark.usefixtures("without_pandas")
def test_names_are_the_usaes_and_the_readers_own(tmp_path):
    own = tmp_path / "labels.json"
    own.write_text('{"schema": 1, "labels": [{"concept": 3, "name": "sky"}]}')
    assert uv.concept_table(ut.load("demo"), "index", labels=own)["name"][3] == "sky"
    named = uv.concept_table(ut.load("photos"), "index")
    assert sum(name is not None for name in named["name"]) == 50
    assert "follows" not in named.columns


def test_a_labels_file_names_concepts_to_explain_too(tmp_path):
    own = tmp_path / "labels.json"
    own.write_text('{"schema": 1, "labels": [{"concept": 3, "name": "sky"}]}')
    usae = ut.load("demo")
    seen = uv.explain(usae, usae.backbones["vit"].mean.new_ones(3, 64, 64), labels=own)
    assert seen.number("sky") == 3


@pytest.mark.parametrize("named", ["red", "colour: red", "30"])
def test_a_concept_goes_by_its_name(named):
    (objective,) = bound_in(ut.load("demo"), [uv.Concept(named)])
    assert objective.concepts == (30,)


@pytest.mark.parametrize("top", [-1, True, 2.0])
def test_a_number_of_rows_that_is_none_is_refused(top):
    """-1 left the last concept out."""
    with pytest.raises(ValueError, match=r"top .*: expected a whole number >= 0"):
        uv.concept_table(ut.load("demo"), top=top)


def test_top_by_its_former_name():
    with pytest.warns(FormerNameWarning, match="^limit is called top now; write top$"):
        assert len(uv.concept_table(ut.load("demo"), limit=2)) == 2
