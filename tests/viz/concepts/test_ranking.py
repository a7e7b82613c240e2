"""A label that is no better than chance is none."""

from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from usae_viz.concepts.caption import caption
from usae_viz.concepts.followed import best_factor, factor_followed
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.concepts.ranking import concept_rows
from usae_viz.concepts.selection import Selection, select
from usae_viz.explorer.columns import concept_columns


@pytest.fixture
def known(usae):
    """A USAE whose concepts 0 to 2 follow `red` well, a little and by chance, and none follows `blue`."""
    auroc = torch.full((2, 2, 12), 0.5)
    auroc[:, 0, :3] = torch.tensor([0.95, 0.61, 0.59])
    auroc[:, 1, 5] = 0.58
    statistics = replace(usae.statistics, auroc=auroc)
    return SimpleNamespace(
        statistics=statistics,
        factors=["colour: red", "colour: blue"],
        n_concepts=12,
        labels_file=None,
        names=usae.names,
        agreement=None,
        private=usae.private,
    )


def test_a_label_at_chance_is_not_shown(known):
    assert [caption(known, concept) for concept in (0, 1, 2, 5)] == [
        "concept 0: follows colour: red (AUROC 0.95)",
        "concept 1: nearest to colour: red (AUROC 0.61)",
        "concept 2",
        "concept 5",
    ]
    assert factor_followed(known, 2) is None
    assert best_factor(known, 2).auroc == pytest.approx(0.59)


def test_a_label_at_chance_names_no_concept(known):
    assert parse_concepts(known, "red") == [0]
    with pytest.raises(ValueError, match=r"no concept follows 'blue': the nearest, 5, is at chance \(AUROC 0.58\)"):
        parse_concepts(known, "blue")
    assert parse_concepts(known, "colour:*") == [0]
    with pytest.raises(ValueError, match=r"no label matches 'b\*'"):
        parse_concepts(known, "b*")


def test_a_label_at_chance_has_no_figure_on_the_page(known):
    (areas,) = [column.values for column in concept_columns(known, [0, 1, 2, 5]) if column.key == "auroc"]
    assert areas == [0.95, 0.61, None, None]


@pytest.mark.parametrize("text", ["Light Blue", "lightblue", "colour: light blue", "Colour:lightBlue", "*blue"])
def test_a_label_is_found_however_it_is_spelt(known, text):
    known.factors = ["colour: red", "colour: Light Blue"]
    known.statistics.auroc[:, 1, 5] = 0.9
    assert parse_concepts(known, text) == [5]


@pytest.fixture
def agreed(usae):
    """The same concepts as those of three trainings: 4 came back in all, the others in two."""
    usae = copy(usae)
    usae.agreement = torch.full((usae.n_concepts,), 2 / 3)
    usae.agreement[4] = 1.0
    return usae


def test_a_consensus_says_how_many_trainings_have_a_concept(agreed, usae):
    assert caption(agreed, 4).endswith("in 100% of the trainings")
    assert "trainings" not in caption(usae, 4)
    rows = concept_rows(agreed, "agreement")
    assert (rows[0].concept, rows[0].as_dict()["agreement"]) == (4, 1.0)
    assert "agreement" not in concept_rows(usae)[0].as_dict()
    assert select(agreed, Selection(top=1, by="agreement")) == [4]
    (column,) = [each for each in concept_columns(agreed, [4, None, 0]) if each.key == "agreement"]
    assert column.values == [1.0, None, 0.6667]
    assert all(each.key != "agreement" for each in concept_columns(usae, [4]))


def test_a_single_training_has_no_agreement(usae):
    with pytest.raises(ValueError, match="by agreement: this USAE is one training; `usae-train consensus` makes one"):
        concept_rows(usae, "agreement")
    with pytest.raises(ValueError, match="by agreement: this USAE is one training"):
        select(usae, Selection(top=1, by="agreement"))
