"""A label that is no better than chance is none."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from usae_viz.concepts.naming import caption, follows, label_of
from usae_viz.concepts.parsing import parse_concepts


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
    )


def test_a_label_at_chance_is_not_shown(known):
    assert [caption(known, concept) for concept in (0, 1, 2, 5)] == [
        "concept 0: follows colour: red (AUROC 0.95)",
        "concept 1: nearest to colour: red (AUROC 0.61)",
        "concept 2",
        "concept 5",
    ]
    assert label_of(known, 2) is None
    assert follows(known, 2).auroc == pytest.approx(0.59)


def test_a_label_at_chance_names_no_concept(known):
    assert parse_concepts(known, "red") == [0]
    with pytest.raises(ValueError, match=r"no concept follows 'blue': the nearest, 5, is at chance \(AUROC 0.58\)"):
        parse_concepts(known, "blue")
