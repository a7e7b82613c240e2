import pytest
import torch

from usae_viz.scores import MIN_SHARE, Score, Scores
from usae_viz.verify import verify


def test_scores_are_worked_out_on_the_codes_after_topk(usae):
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = verify(usae, 3, {"left": canvas, "right": canvas.flip(-1)}, {"left": ["left"], "right": ["right"]}, seed=0)
    assert set(scores.table) == {"left", "right"}
    for row in scores.table.values():
        for score in row.values():
            assert 1 <= score.rank <= usae.n_concepts
            assert 0 <= score.share <= 1
            assert score.code >= 0
            assert 0 <= score.percentile <= 100


def test_exactly_k_concepts_can_fire_everywhere(usae):
    """A token has at most k codes, so the shares of all concepts sum to at most k."""
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    shares = [
        verify(usae, k, {"left": canvas}, {"left": ["left"]}, seed=0)["left"]["left"].share
        for k in range(usae.n_concepts)
    ]
    assert 0 < sum(shares) <= usae.k


def test_ranks_of_all_concepts_are_a_ranking(usae):
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = [
        verify(usae, k, {"left": canvas}, {"left": ["left"]}, seed=0)["left"]["left"] for k in range(usae.n_concepts)
    ]
    ranked = [score.rank for score in found if score.code > 0]
    assert sorted(ranked) == list(range(1, len(ranked) + 1))


def score(share):
    return Score(code=1.0, rank=1, share=share, percentile=None)


@pytest.mark.parametrize(("own", "other", "fired"), [(0.5, 0.0, True), (MIN_SHARE / 2, 0.9, False)])
def test_a_picture_has_failed_when_its_own_backbone_does_not_fire(own, other, fired):
    scores = Scores(3, {"left-seed-1": {"left": score(own), "right": score(other)}}, {"left-seed-1": ("left",)})
    assert scores.fired("left-seed-1") is fired
    assert ("FAILED" in str(scores)) is not fired


def test_a_shared_picture_has_to_fire_in_all():
    assert not Scores(3, {"shared": {"left": score(0.5), "right": score(0.0)}}, {"shared": ("left", "right")}).fired(
        "shared"
    )
    assert Scores(3, {"shared": {"left": score(0.5), "right": score(0.4)}}, {"shared": ("left", "right")}).fired(
        "shared"
    )
