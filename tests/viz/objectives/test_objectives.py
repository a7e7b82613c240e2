from types import SimpleNamespace

import pytest
import torch

from usae_viz.objectives import (
    L2,
    Activations,
    Channel,
    Closeness,
    Concept,
    Direction,
    Diversity,
    InvalidObjective,
    Logit,
    Objective,
    SameCodes,
    TotalVariation,
    objective,
    parse_objective,
    pool_tokens,
    score,
)


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
    assert (three / 2)(acts).tolist() == [1.5, 1.5]
    assert ((two + three) / -4 * three)(acts).tolist() == [-3.75, -3.75]
    assert sum([two, three])(acts).tolist() == [5, 5]


def test_composing_leaves_the_parts_alone(acts):
    a, b = Concept(4), Concept(7)
    before = a(acts), b(acts)
    together = a - 0.5 * b
    assert torch.allclose(together(acts), before[0] - 0.5 * before[1])
    assert torch.equal(a(acts), before[0])
    assert torch.equal(b(acts), before[1])
    assert together.concepts == (4, 7)


def test_a_difference_of_backbones_asks_for_more_in_the_first_alone():
    left, right = Concept(3, backbone="left"), Concept(3, backbone="right")
    assert (left - 0.5 * right).maximized == ("left",)
    assert (left + right).maximized == ("left", "right")
    assert (left - Concept(5, backbone="left")).maximized == ("left",), "of two concepts in one backbone, the first"
    assert (left - right).backbones == ("left", "right")
    assert (left - right - 2 * TotalVariation()).maximized == (left - right + 2 * L2()).maximized == ("left",)
    assert Concept(3).maximized is None
    same = [-1 * right + left, right * -0.5 + left, left + -right, -(right - left), left - right - right]
    assert {each.maximized for each in same} == {("left",)}
    assert (-(left - right)).maximized == ("right",)
    assert ((left - right) / -2).maximized == ("right",)
    assert ((left - right) / 2).maximized == ("left",)
    assert (-right - left).maximized == ("right", "left"), "less in all: verified in all"
    assert (left * -right).maximized == ("left", "right"), "the sign of a product is not known"


def test_the_first_concept_is_one_that_is_asked_for():
    for asked in ("Concept(3) - Concept(7)", "-0.5 * Concept(7) + Concept(3)", "1 - (Concept(7) - Concept(3))"):
        assert parse_objective(asked).concepts == (3, 7), asked
    assert (Concept(7) - Concept(3) + 2 * Concept(3)).concepts == (7, 3)
    assert (-Concept(7)).concepts == (7,)


def test_a_concept_is_the_mean_of_its_pre_code_over_crops_and_tokens(acts, usae):
    by_hand = usae.pre_codes("left", acts.tokens)[..., 5].mean((1, 2))
    assert torch.allclose(Concept(5)(acts), by_hand, atol=1e-5)
    assert torch.allclose(Concept(5, pool="mean")(acts), by_hand, atol=1e-5)


def test_in_a_shared_picture_the_strongest_half_of_the_tokens_counts(acts, usae):
    shared = Activations(usae, "left", acts.canvas, acts.views, acts.tokens, shared=True)
    by_hand = usae.pre_codes("left", acts.tokens)[..., 5].sort(descending=True).values
    assert torch.allclose(Concept(5)(shared), by_hand[..., : by_hand.shape[-1] // 2].mean((1, 2)), atol=1e-5)
    assert torch.equal(Concept(5)(shared.of_rows([1])), Concept(5)(shared)[1:])
    assert torch.equal(Concept(5, pool="mean")(shared), Concept(5)(acts))


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
    assert pool_tokens(values, "top", (4, 4)).item() == 11.5  # 8 to 15
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
    with pytest.raises(ValueError, match="pool 'sum': expected one of auto, mean, max, top, centre"):
        Concept(1, pool="sum")
    with pytest.raises(ValueError, match="of='codes': expected one of pre_code, code"):
        Concept(1, of="codes")


def test_a_score_of_the_wrong_shape_is_said(acts):
    wrong = Objective(lambda acts: acts.tokens.mean(), "wrong")
    with pytest.raises(
        ValueError, match=r"objective wrong returned \(\) through left; expected one score per picture, \(2,\)"
    ):
        score(wrong, acts)
    with pytest.raises(ValueError, match="objective none returned NoneType"):
        score(Objective(lambda acts: None, "none"), acts)


def test_a_channel_is_the_mean_of_its_numbers(acts):
    assert torch.allclose(Channel("left", 7)(acts), acts.tokens[..., 7].mean((1, 2)))
    assert torch.allclose(Channel("left", 7, pool="max")(acts), acts.tokens[..., 7].amax(-1).mean(1))
    assert Channel("right", 7)(acts).tolist() == [0, 0]
    with pytest.raises(ValueError, match="no channel 24; left's tokens have 24"):
        Channel("left", 24)(acts)
    with pytest.raises(ValueError, match=r"channel 1\.5: expected a whole number >= 0"):
        Channel("left", 1.5)


def test_a_direction_is_the_dot_product_with_its_unit_vector(acts):
    three_four = torch.zeros(24)
    three_four[2], three_four[5] = 3, 4
    by_hand = (0.6 * acts.tokens[..., 2] + 0.8 * acts.tokens[..., 5]).mean((1, 2))
    assert torch.allclose(Direction("left", three_four)(acts), by_hand, atol=1e-6)
    assert torch.allclose(Direction("left", 1e-9 * three_four)(acts), by_hand, atol=1e-6)
    assert Direction("right", three_four)(acts).tolist() == [0, 0]
    with pytest.raises(ValueError, match="Direction: 3 numbers; left's tokens have 24"):
        Direction("left", [1.0, 2.0, 3.0])(acts)


def test_a_directions_text_is_the_direction(acts):
    """So that a picture of one that was made of a tensor can be drawn again from what it says of itself."""
    vector = torch.randn(acts.tokens.shape[-1], generator=torch.Generator().manual_seed(0))
    direction = Direction("left", vector)
    assert torch.equal(parse_objective(str(direction))(acts), direction(acts))


@pytest.mark.parametrize("vector", [[0.0, 0.0], [], [[1.0, 2.0]], 3.0, [1.0, float("nan")], [1.0, float("inf")]])
def test_a_direction_has_to_be_a_vector_that_points_somewhere(vector):
    with pytest.raises(ValueError, match=r"expected a vector \(width,\) that is finite and not zero, for 'left'"):
        Direction("left", vector)


def seen(canvas=None, tokens=None):
    """Activations of which only the canvas or the tokens are looked at."""
    return SimpleNamespace(canvas=canvas, tokens=tokens)


def test_total_variation_by_hand():
    stripes = torch.zeros(1, 3, 4, 4)
    stripes[..., 1::2] = 1  # every neighbour across differs by 1, none down
    board = torch.zeros(1, 3, 4, 4)
    board[..., 0::2, 1::2] = board[..., 1::2, 0::2] = 1
    assert TotalVariation()(seen(torch.cat([stripes, board, torch.ones(1, 3, 4, 4)]))).tolist() == [1, 2, 0]


def test_l2_by_hand():
    canvas = torch.stack([torch.full((3, 4, 4), value) for value in (0.0, 0.5, 1.0, 0.7)])
    assert torch.allclose(L2()(seen(canvas)), torch.tensor([0.25, 0, 0.25, 0.04]))


def test_diversity_by_hand():
    """Gram matrices diag(2, 0) and diag(0, 2) are orthogonal."""
    across = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).view(1, 1, 2, 2)
    down = across.flip(-1)
    assert Diversity()(seen(tokens=across)).tolist() == [0]
    assert torch.allclose(Diversity()(seen(tokens=torch.cat([across, across]))), torch.zeros(2), atol=1e-6)
    assert torch.allclose(Diversity()(seen(tokens=torch.cat([across, down]))), torch.ones(2), atol=1e-6)
    assert Diversity()(seen(tokens=torch.zeros(2, 1, 4, 6))).tolist() == [0, 0], "nothing in either: no difference"
    three = Diversity()(seen(tokens=torch.cat([across, across, down])))
    assert torch.allclose(three, torch.tensor([0.5, 0.5, 1.0]), atol=1e-6)
    moved = Diversity()(seen(tokens=torch.cat([across, down]) + 100))  # what all have in common makes none alike
    assert torch.allclose(moved, torch.ones(2), atol=1e-6)


def beside(acts, tokens):
    """The same activations beside a given picture's tokens."""
    reference = Activations(acts.usae, acts.backbone, acts.canvas, acts.views, tokens)
    return Activations(acts.usae, acts.backbone, acts.canvas, acts.views, acts.tokens, reference)


def test_closeness_is_zero_for_the_same_picture_and_minus_one_at_its_own_spread(acts):
    assert Closeness()(beside(acts, acts.tokens)).tolist() == [0, 0]
    there = acts.tokens + torch.ones(24)
    spread = (there - there.mean((1, 2), keepdim=True)).square().mean((1, 2, 3))
    assert torch.allclose(Closeness()(beside(acts, there)), -1 / spread, atol=1e-5)
    middle = acts.tokens.mean((1, 2), keepdim=True).expand_as(acts.tokens)
    at_the_mean = Activations(acts.usae, "left", acts.canvas, acts.views, middle)
    assert torch.allclose(Closeness()(beside(at_the_mean, acts.tokens)), torch.tensor(-1.0), atol=1e-5)


def test_same_codes_is_largest_for_the_same_picture(acts, usae):
    own = SameCodes()(beside(acts, acts.tokens))
    others = [SameCodes()(beside(acts, acts.tokens.roll(shift, 2))) for shift in (1, 5)]
    assert (own <= 0).all()
    assert all((own > other).all() for other in others)
    pre_codes = acts.pre_codes.relu()  # k of them are wanted, what is left of the others is missed
    kept = usae.encode("left", acts.tokens).dense(12)
    assert torch.allclose(own, -(pre_codes - kept).square().sum((1, 2, 3)) / kept.square().sum((1, 2, 3)), atol=1e-5)
    assert SameCodes(["right"])(beside(acts, acts.tokens)).tolist() == [0, 0]
    assert str(SameCodes("left")) == str(SameCodes(["left"])), "a name, not its letters"
    assert torch.equal(SameCodes(["left"])(beside(acts, acts.tokens)), own)


@pytest.mark.parametrize("needy", [Closeness(), SameCodes(), Concept(3) + 2 * Closeness()])
def test_a_comparison_needs_a_picture_to_compare_with(acts, needy):
    assert needy.needs_reference
    with pytest.raises(ValueError, match="compares with a picture; give one as `start` or `reference`"):
        score(needy, acts)


def test_an_objective_knows_what_it_looks_at():
    joined = Concept(4) * Channel("left", 3) - 2 * (Concept(7, backbone="right") + Concept(4, backbone="left"))
    assert joined.concepts == (4, 7)
    assert joined.backbones is None  # Concept(4) asks all
    assert (Channel("left", 3) + Logit("right", 2) - TotalVariation()).backbones == ("left", "right")
    assert TotalVariation().backbones == ()
    assert (1 - 0.5 * (Concept(4) - Diversity())).whole_batch
    assert not Concept(4).whole_batch


def test_what_is_no_number_is_not_joined(acts):
    for wrong in ("2", None, True, torch.ones(2)):
        with pytest.raises(TypeError):
            Concept(4) + wrong
        with pytest.raises(TypeError):
            Concept(4) / wrong
    with pytest.raises(TypeError):
        2 / Concept(4)
    with pytest.raises(TypeError):
        Concept(3) / Concept(4)
    assert torch.allclose((2 - Concept(4) * 3)(acts), 2 - 3 * Concept(4)(acts))


@pytest.mark.parametrize("number", [0, 0.0, -0.0, float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_number_that_nothing_can_be_divided_by_is_one_line(number):
    with pytest.raises(ValueError, match=r"^objective Concept\(4\) / .*: expected a finite number that") as caught:
        Concept(4) / number
    assert "\n" not in str(caught.value)


def test_a_sum_of_very_many_parts_is_one_clear_error(acts):
    with pytest.raises(ValueError, match="has too many parts") as caught:
        score(sum([Concept(4)] * 2000), acts)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "around",
    [
        lambda own: Concept(5) + own,
        lambda own: own * Concept(5),
        lambda own: own / 2 - Concept(5),
        lambda own: -own + 1,
    ],
)
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda acts: acts.canvas.mean(), r"returned \(\) through left; expected one score per picture, \(2,\)"),
        (lambda acts: acts.canvas.mean((1, 2, 3))[:, None], r"returned \(2, 1\) through left"),
        (lambda acts: 1.0, "returned float through left"),
        (lambda acts: acts.canvas.mean((1, 2, 3)).to(torch.complex64), "returned complex numbers through left"),
        (lambda acts: acts.nothing, r"fails through left: test_objectives\.py, line \d+: AttributeError\(.*nothing"),
        (lambda acts: int("a lot"), r"fails through left: test_objectives\.py, line \d+: ValueError\(.*a lot"),
    ],
)
def test_ones_own_part_of_a_sum_is_checked_before_it_is_broadcast(acts, around, function, said):
    """A mean over all pictures was added to each of them."""
    for own in (objective(function), Objective(function, "mine")):
        with pytest.raises(InvalidObjective, match=said):
            score(around(own), acts)


def test_want_of_memory_in_ones_own_objective_stays_what_it_is(acts):
    def hungry(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        score(Concept(5) + objective(hungry), acts)
