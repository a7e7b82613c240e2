"""A step against a reference that lays out every token's code for every concept, in value and gradient."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toys import WIDTHS

from usae_train.model.usae import USAE
from usae_train.training import step
from usae_train.training.kernels import reference
from usae_train.training.kernels.matryoshka import matryoshka_loss
from usae_train.training.kernels.topk_complement import largest, topk_complement
from usae_train.training.settings import DEFAULT, PUBLISHED, TrainingRecipe
from usae_train.training.step import choose_entries, groups_of, joined_shares, part_entries, step_loss
from usae_train.training.step_plan import StepPlan

N_CONCEPTS, K = 16, 3
NONE = torch.zeros(0, dtype=torch.long)
NOTHING_DEAD = torch.zeros(len(WIDTHS), N_CONCEPTS, dtype=torch.bool)


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float32, whatever this processor is fast in: the reference is."""
    for module in ("usae_train.training.step", "usae_train.training.kernels.products"):
        monkeypatch.setattr(f"{module}.product_dtype", lambda device: torch.float32)


def toy(recipe: TrainingRecipe) -> tuple[USAE, dict[str, Tensor]]:
    """A USAE with rows of any length and offsets of any size, and nine tokens."""
    torch.manual_seed(3)
    usae = USAE(WIDTHS, N_CONCEPTS, K, batch_norm=recipe.batch_norm, unit_norm=recipe.unit_norm).train()
    for name in WIDTHS:
        usae.decoder(name).offset.data.normal_()
        if not recipe.renormalize:
            usae.decoder(name).weight.data *= torch.rand(N_CONCEPTS, 1) + 0.5
    return usae, {name: torch.randn(9, width) for name, width in WIDTHS.items()}


def dead_in(**concepts: list[int]) -> Tensor:
    """(backbones, concepts) bool: which concepts are dead in which backbone."""
    mask = NOTHING_DEAD.clone()
    for name, own in concepts.items():
        mask[list(WIDTHS).index(name), own] = True
    return mask


ALL = DEFAULT.model_copy(update={"encoding": "all"})
ABSOLUTE = ALL.model_copy(update={"loss": "absolute", "matryoshka_fractions": ()})
THREE_PARTS = ALL.model_copy(update={"matryoshka_fractions": (0.25, 0.5)})
WITH_NORM = ALL.model_copy(update={"batch_norm": True})
ONE = DEFAULT.model_copy(update={"encoding": "one"})
UNIT = DEFAULT.model_copy(update={"unit_norm": True})
OWN_SHARE = DEFAULT.model_copy(update={"own_weight": 2.0})
OWN_ALL = THREE_PARTS.model_copy(update={"own_weight": 0.5})
OWN_ABSOLUTE = ABSOLUTE.model_copy(update={"own_weight": 3.0})
SCALAR = DEFAULT.model_copy(update={"standardization": "scalar"})


@pytest.mark.parametrize(
    ("recipe", "encoding", "dead"),
    [
        (DEFAULT, ["a", "b", "c"], NOTHING_DEAD),
        (DEFAULT, ["a", "b", "c"], dead_in(a=[2, 5, 9, 11, 15], c=[3])),
        (ALL, ["a", "b", "c"], NOTHING_DEAD),
        (ALL, ["a", "b", "c"], dead_in(a=[2, 5, 9, 11, 15], b=[5, 6])),
        (THREE_PARTS, ["a", "b", "c"], dead_in(a=[1, 4], b=[1, 4], c=[1, 4])),
        (ABSOLUTE, ["a", "b", "c"], NOTHING_DEAD),
        (WITH_NORM, ["a", "b", "c"], dead_in(a=[0, 7, 8, 9], b=[0], c=[7, 8])),
        (SCALAR, ["a", "b", "c"], NOTHING_DEAD),
        (UNIT, ["a", "b", "c"], dead_in(a=[2, 5, 9, 11, 15], c=[3])),
        (ONE, ["c"], NOTHING_DEAD),
        (OWN_SHARE, ["a", "b", "c"], dead_in(a=[2, 5, 9, 11, 15], c=[3])),
        (OWN_ALL, ["a", "b", "c"], dead_in(a=[1, 4])),
        (OWN_ABSOLUTE, ["a", "b", "c"], NOTHING_DEAD),
        (PUBLISHED, ["b"], NOTHING_DEAD),
    ],
    ids=(
        "share",
        "dead in some",
        "all",
        "dead",
        "three parts",
        "absolute",
        "batch norm",
        "scalar",
        "unit",
        "one",
        "own, shares",
        "own, all",
        "own, absolute",
        "published",
    ),
)
def test_a_step_equals_the_dense_reference_with_its_gradients(
    recipe: TrainingRecipe, encoding: list[str], dead: Tensor
) -> None:
    usae, batch = toy(recipe)
    expected_loss, expected_fired = reference.step_loss(usae, batch, encoding, recipe, dead)
    expected_loss.backward()
    names = [
        name
        for name, _ in usae.named_parameters()
        if (recipe.encoding != "one" or name.split(".")[1] in encoding)
        and (recipe.offset or not name.endswith("offset"))
    ]
    expected = {name: usae.get_parameter(name).grad.clone() for name in names}  # type: ignore[union-attr]
    usae.zero_grad()
    usae, batch = toy(recipe)  # BatchNorm's running figures anew
    loss, fired = step_loss(usae, batch, StepPlan.of_all(recipe, encoding), dead)
    loss.backward()
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=1e-5)
    assert torch.equal(fired, expected_fired)
    for name in names:
        torch.testing.assert_close(usae.get_parameter(name).grad, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    weights = [gradient for name, gradient in expected.items() if name.endswith("weight")]
    assert all(gradient.abs().sum() > 1e-3 for gradient in weights)


def test_an_exact_step_is_in_float32_where_bfloat16_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss_and_gradient(exact: bool) -> tuple[Tensor, Tensor]:
        usae, batch = toy(PUBLISHED)
        loss, _ = step_loss(usae, batch, replace(StepPlan.of_all(PUBLISHED, ["b"]), exact=exact), NOTHING_DEAD)
        loss.backward()
        weights = (usae.encoder("b").linear.weight, usae.decoder("b").weight)
        return loss.detach(), torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])

    plain_loss, plain = loss_and_gradient(exact=False)
    monkeypatch.setattr("usae_train.training.kernels.products.product_dtype", lambda device: torch.bfloat16)
    loss, gradient = loss_and_gradient(exact=True)
    torch.testing.assert_close((loss, gradient), (plain_loss, plain))
    loss, gradient = loss_and_gradient(exact=False)
    assert 1e-6 < (loss - plain_loss).abs() / plain_loss < 0.01
    assert 1e-4 < (gradient - plain).norm() / plain.norm() < 0.1


def test_a_step_that_changes_one_pair_has_no_gradient_for_the_others() -> None:
    usae, batch = toy(PUBLISHED)
    step_loss(usae, batch, StepPlan.of_all(PUBLISHED, ["b"]), NOTHING_DEAD)[0].backward()
    assert usae.decoder("b").weight.grad is not None
    assert usae.decoder("a").weight.grad is None


def test_parts_of_a_batch_on_two_ranks_give_the_loss_of_the_whole() -> None:
    usae, batch = toy(DEFAULT)
    batch = {name: torch.cat([own, own[:1] + 1]) for name, own in batch.items()}  # ten
    plan = StepPlan.of_all(DEFAULT, ["a", "b", "c"])
    whole = step_loss(usae, batch, plan, NOTHING_DEAD)[0]
    parts = [
        step_loss(usae, {n: own[rows] for n, own in batch.items()}, plan, NOTHING_DEAD, rows)[0]
        for rows in (torch.arange(5), torch.arange(5, 10))
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_codes_of_a_step_are_as_exact_as_the_product_is_and_their_gradient_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bfloat16 they are rounded once; what goes back to the weights is the sum of float32 tokens."""
    usae, batch = toy(DEFAULT)
    weight = usae.encoder("a").linear.weight
    exact = usae.encoder("a")(batch["a"])
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-6)):
        monkeypatch.setattr(step, "product_dtype", lambda device, dtype=dtype: dtype)
        active = step.sparse_active(usae, "a", batch["a"], NONE)
        of_active = exact[active.tokens, active.concepts].relu()
        torch.testing.assert_close(active.values, of_active, rtol=tolerance, atol=tolerance)
        (gradient,) = torch.autograd.grad(active.values.sum(), weight)
        firing = (active.values > 0).float()
        (expected,) = torch.autograd.grad((of_active * firing).sum(), weight, retain_graph=True)
        torch.testing.assert_close(gradient, expected)


def picked(pre_codes: Tensor, k: int, dead: list[int]) -> tuple[list[int], list[int], list[bool] | None]:
    usae = USAE({"a": 2}, pre_codes.shape[1], k)
    chosen, revived = choose_entries(usae, "a", pre_codes, torch.tensor(dead, dtype=torch.long))
    return chosen.tokens.tolist(), chosen.concepts.tolist(), None if revived is None else revived.tolist()


def test_pick_takes_the_largest_in_order_and_then_the_dead() -> None:
    pre_codes = torch.tensor([[0.0, 5.0, 1.0, 4.0, 2.0], [3.0, 0.0, 1.0, 0.0, 2.0]])
    assert picked(pre_codes, 2, []) == ([0, 0, 1, 1], [1, 3, 0, 4], None)
    assert picked(pre_codes[:1], 3, [0]) == ([0] * 4, [1, 3, 4, 0], [False, False, False, True])
    assert picked(pre_codes, 1, [0, 2, 4]) == ([0, 0, 1, 1], [1, 4, 0, 0], [False, True, False, True])


def test_the_largest_of_512_are_the_same_in_groups_of_four() -> None:
    pre_codes = torch.randn(7, 512, generator=torch.Generator().manual_seed(0))
    usae = USAE({"a": 2}, 512, 12, unit_norm=False)
    found = [choose_entries(usae, "a", pre_codes, NONE, sizes=sizes)[0].concepts for sizes in (groups_of(usae), (6, 4))]
    assert torch.equal(*found)
    assert groups_of(usae) != groups_of(USAE({"a": 2}, 512, 12)) == groups_of(USAE({"a": 2}, 6, 1, unit_norm=False))


def test_shares_are_joined_in_the_order_of_tokens() -> None:
    shares = [
        step.ActiveEntries(torch.tensor([1.0, 2.0]), torch.tensor([7, 8]), torch.tensor([0, 0]), 2),
        step.ActiveEntries(
            torch.tensor([3.0, 4.0]), torch.tensor([5, 6]), torch.tensor([0, 1]), 2, torch.tensor([0, 1]) > 0
        ),
    ]
    found = joined_shares(shares, torch.tensor([2, 0, 3, 1]))  # the second share's tokens come first and third
    assert (found.tokens.tolist(), found.concepts.tolist()) == ([0, 1, 1, 2], [5, 7, 8, 6])
    assert found.values.tolist() == [3.0, 1.0, 2.0, 4.0]
    assert found.revived is not None
    assert (found.n_tokens, found.revived.tolist()) == (4, [False, False, False, True])


def test_parts_of_a_token_follow_the_limits() -> None:
    concepts, tokens = torch.tensor([0, 3, 5, 7, 4, 6, 7, 1]), torch.tensor([0] * 4 + [1] * 4)
    revived = torch.tensor([False, False, False, True] * 2)
    entries, n_parts = part_entries(
        step.ActiveEntries(torch.ones(8), concepts, tokens, 2, revived), 8, (0.5,)
    )  # limit 4
    assert n_parts == 3
    assert entries.segments.tolist() == [0, 0, 1, 2, 4, 4, 4, 5]


def positions(kept: list[list[int]], n_concepts: int) -> Tensor:
    return torch.tensor([row * n_concepts + own for row, each in enumerate(kept) for own in each])


def test_topk_complement_takes_the_largest_codes_that_top_k_left() -> None:
    left = topk_complement(torch.tensor([[5.0, -1.0, 3.0, 2.0, 4.0, 1.0]]), positions([[0, 4]], 6))
    assert left.tolist() == [[0.0, 0.0, 3.0, 2.0, 0.0, 1.0]]
    left = topk_complement(torch.tensor([[5.0, 0.5, 3.0, 2.0, 4.0, 1.0]]), positions([[0, 4]], 6))
    assert left.tolist() == [[0.0, 0.0, 3.0, 2.0, 0.0, 1.0]]


def test_topk_complement_never_holds_what_top_k_kept_or_what_relu_closed() -> None:
    assert topk_complement(torch.tensor([[5.0, -1.0, 3.0, 2.0]]), positions([[0, 2, 3]], 4)).tolist() == [[0.0] * 4]


def test_topk_complement_counts_in_each_token() -> None:
    pre_codes = torch.tensor([[5.0, 0.5, 3.0, 2.0, 4.0, 1.0], [-1.0, 2.0, -3.0, 0.5, -2.0, 3.0]])
    left = topk_complement(
        pre_codes, positions([[0], [5]], 6)
    )  # the first has more codes than a half, the second fewer
    assert left.tolist() == [[0.0, 0.0, 3.0, 2.0, 4.0, 0.0], [0.0, 2.0, 0.0, 0.5, 0.0, 0.0]]


def test_largest_counts_from_above() -> None:
    numbers = torch.tensor([[3.0, 1.0, 2.0], [9.0, 7.0, 8.0]])
    assert [largest(numbers, rank).flatten().tolist() for rank in (1, 2, 3, 4)] == [[3, 9], [2, 8], [1, 7], [1, 7]]


@pytest.mark.parametrize("squared", [False, True])
def test_the_error_of_millions_of_numbers_is_exact(squared: bool) -> None:
    tokens = torch.randn(2000, 768, generator=torch.Generator().manual_seed(0))
    wanted = tokens.double().square().mean() if squared else tokens.double().abs().mean()
    found = matryoshka_loss(torch.zeros(2000, 1, 768), torch.zeros(768), tokens, squared)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)  # one after another: 4.5e-5 and more apart
