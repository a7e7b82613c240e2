"""The names that come with `photos`."""

from typer.testing import CliRunner

import usae_train as ut
from usae_train.model.concept_names import bare_name
from usae_viz.cli import app
from usae_viz.concepts.labels import labels_of
from usae_viz.concepts.parsing import parse_concepts


def test_at_least_forty_concepts_are_named_each_by_a_name_of_its_own_that_both_backbones_have():
    usae = ut.load("photos")
    labels = labels_of(usae)
    assert len(labels) >= 40
    assert len({bare_name(label.name) for label in labels}) == len(labels) == len({label.concept for label in labels})
    for label in labels:
        assert parse_concepts(usae, label.name) == [label.concept]
        assert usae.statistics.fires[:, label.concept].min() >= 50, label  # tokens of 184,828
        assert usae.statistics.universality[label.concept] >= 0.3, label


def test_they_are_listed_and_a_name_that_there_is_not_says_the_nearest(tmp_path):
    done = CliRunner().invoke(app, ["concepts", "--usae", "photos", "--named"])
    assert done.exit_code == 0, done.output
    for label in labels_of(ut.load("photos")):
        assert label.name in done.output
    words = ["maximize", "--usae", "photos", "--concept", "eyess", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "no concept is labelled 'eyess'; the nearest labels: eyes" in done.output
    assert "\n" not in done.output.strip()
    assert not (tmp_path / "out").exists()
