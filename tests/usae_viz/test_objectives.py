import pytest
import torch

from usae_viz.objectives import Activations, Concept, Objective, objective, pool_tokens, score


@pytest.fixture
def acts(usae):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(2, 3, 16, 24, generator=generator)
    return Activations(usae, "left", torch.rand(2, 3, 8, 8, generator=generator), torch.zeros(2, 3, 3, 8, 8), tokens)


def constant(value):
    return Objective(lambda acts: torch.full((len(acts.canvas),), float(value)), str(value))


def test_objectives_compose_like_numbers(acts):
    two, three = constant(2), constant(3)
    assert (two + three)(acts).tolist() == [5, 5]
    assert (two - three)(acts).tolist() == [-1, -1]
    assert (two * three)(acts).tolist() == [6, 6]
    assert (0.5 * two + 1)(acts).tolist() == [2, 2]
    assert (1 - two)(acts).tolist() == [-1, -1]
    assert (-two)(acts).tolist() == [-2, -2]
    assert sum([two, three])(acts).tolist() == [5, 5]


def test_composing_leaves_the_parts_alone(acts):
    a, b = Concept(4), Concept(7)
    before = a(acts), b(acts)
    together = a - 0.5 * b
    assert torch.allclose(together(acts), before[0] - 0.5 * before[1])
    assert torch.equal(a(acts), before[0])
    assert torch.equal(b(acts), before[1])
    assert together.concepts == (4, 7)


def test_a_concept_is_the_mean_of_its_pre_code_over_crops_and_tokens(acts, usae):
    by_hand = usae.pre_codes("left", acts.tokens)[..., 5].mean((1, 2))
    assert torch.allclose(Concept(5)(acts), by_hand, atol=1e-5)


def test_a_concept_of_codes_is_what_topk_leaves(acts, usae):
    dense = usae.encode("left", acts.tokens).dense(usae.n_concepts)
    assert torch.allclose(Concept(5, of="code")(acts), dense[..., 5].mean((1, 2)), atol=1e-5)


def test_a_concept_of_one_backbone_counts_nowhere_else(acts):
    assert Concept(5, backbone="right")(acts).tolist() == [0, 0]
    assert torch.equal(Concept(5, backbone="left")(acts), Concept(5)(acts))


def test_pools_by_hand():
    values = torch.arange(16.0).view(1, 1, 16)  # a 4 x 4 grid
    assert pool_tokens(values, "mean", (4, 4)).item() == 7.5
    assert pool_tokens(values, "max", (4, 4)).item() == 15
    assert pool_tokens(values, "top", (4, 4)).item() == 13.5  # 12, 13, 14, 15
    assert pool_tokens(values, "centre", (4, 4)).item() == 7.5  # 5, 6, 9, 10
    assert pool_tokens(torch.arange(9.0).view(1, 1, 9), "centre", (3, 3)).item() == 4


def test_ones_own_objective(acts):
    @objective
    def smooth(acts):
        return -acts.canvas.diff(dim=-1).abs().mean(dim=(1, 2, 3))

    assert smooth(acts).shape == (2,)
    assert (smooth(acts) < 0).all()
    assert str(2 * smooth) == "2 * smooth"


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="concept -1: expected a whole number >= 0"):
        Concept(-1)
    with pytest.raises(ValueError, match="pool 'sum': expected one of mean, max, top, centre"):
        Concept(1, pool="sum")
    with pytest.raises(ValueError, match="of='codes': expected one of pre_code, code"):
        Concept(1, of="codes")


def test_a_score_of_the_wrong_shape_is_said(acts):
    wrong = Objective(lambda acts: acts.tokens.mean(), "wrong")
    with pytest.raises(
        ValueError, match=r"objective wrong returned \(\) through left; expected one score a picture, \(2,\)"
    ):
        score(wrong, acts)
    with pytest.raises(ValueError, match="objective none returned NoneType"):
        score(Objective(lambda acts: None, "none"), acts)
