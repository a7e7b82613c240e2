import pytest
import torch
from torch.nn import functional

from usae_train.training.kernels import reference
from usae_train.training.kernels.sparse_ops import (
    chosen_products,
    decode,
    decode_entries,
    entries_of,
    sampled_dot,
    stable_order,
    transpose,
    weighted_alone,
)

# three segments, the second empty; concept 1 twice, concept 3 never
ENTRIES = entries_of(torch.tensor([2, 1, 1, 0]), torch.tensor([0, 0, 2, 2]), 3, 4)
WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0])
TABLE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0], [7.0, 7.0]])
SEGMENTS = torch.tensor([[1.0, 2.0], [5.0, 5.0], [3.0, 4.0]])


def test_decode_by_hand() -> None:
    assert decode(ENTRIES, WEIGHTS, TABLE).tolist() == [[10.0, 12.0], [0.0, 0.0], [4.0, 3.0]]


def test_transpose_by_hand() -> None:
    # concept 1: twice the first segment and three times the third
    assert transpose(ENTRIES, WEIGHTS, SEGMENTS).tolist() == [[12.0, 16.0], [11.0, 16.0], [1.0, 2.0], [0.0, 0.0]]


def test_match_by_hand() -> None:
    assert sampled_dot(ENTRIES, SEGMENTS, TABLE).tolist() == [30.0, 2.0, 4.0, 3.0]


@pytest.mark.parametrize("n_concepts", [11, 2**16, 2**16 + 1])  # sorted by numpy, and by torch beyond 16 bits
def test_the_order_is_stable(n_concepts: int) -> None:
    concepts = n_concepts - 1 - torch.randint(11, (1000,), generator=torch.Generator().manual_seed(0))
    assert stable_order(concepts, n_concepts).tolist() == sorted(range(1000), key=concepts.tolist().__getitem__)


@pytest.mark.parametrize("divide", [True, False])
def test_decoding_equals_the_dense_product_with_its_gradients(divide: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    concepts, segments = torch.randint(11, (40,), generator=generator), torch.arange(8).repeat_interleave(5)
    entries = entries_of(concepts, segments, 8, 11)
    values = torch.rand(40, generator=generator).requires_grad_()
    weight = (3 * torch.randn(11, 7, generator=generator)).requires_grad_()
    upstream = torch.randn(8, 7, generator=generator)
    atoms = functional.normalize(weight, dim=-1) if divide else weight
    dense = reference.decode(values, concepts, segments, 8, atoms)
    expected = torch.autograd.grad((dense * upstream).sum(), [values, weight])
    decoded = decode_entries(values, weight, entries, divide)
    found = torch.autograd.grad((decoded * upstream).sum(), [values, weight])
    torch.testing.assert_close(decoded, dense, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [2, 3, 8])
def test_inner_products_by_blocks_are_the_same_to_the_bit(blocks: int) -> None:
    generator = torch.Generator().manual_seed(0)
    concepts, segments = torch.randint(11, (40,), generator=generator), torch.arange(8).repeat_interleave(5)
    by_segment, by_concept = torch.randn(8, 7, generator=generator), torch.randn(11, 7, generator=generator)
    expected = sampled_dot(entries_of(concepts, segments, 8, 11), by_segment, by_concept)
    entries = entries_of(concepts, segments, 8, 11, blocks)
    assert torch.equal(sampled_dot(entries, by_segment, by_concept), expected)
    first = entries.ordered_segments < -(-8 // blocks)  # the first block's entries come first, by their concepts
    assert first.tolist() == sorted(first.tolist(), reverse=True)
    assert entries.ordered_concepts[first].tolist() == entries.ordered_concepts[first].sort().values.tolist()


@pytest.mark.parametrize("divide", [True, False])
def test_entries_whose_code_is_zero_are_left_out_of_sums_to_the_same_bits(divide: bool) -> None:
    """They have a gradient all the same, which a threshold needs."""
    generator = torch.Generator().manual_seed(0)
    concepts, segments = torch.randint(11, (40,), generator=generator), torch.arange(8).repeat_interleave(5)
    entries, tokens = entries_of(concepts, segments, 8, 11), torch.randn(8, 7, generator=generator)
    values = torch.randn(40, generator=generator).relu().requires_grad_()
    weight, upstream = torch.randn(2, 11, 7, generator=generator)
    weight, kept = weight.requires_grad_(), weighted_alone(entries, values.detach())
    assert kept.places.tolist() == values.nonzero().squeeze(1).tolist()
    for whole, part in (
        (decode_entries(values, weight, entries, divide), decode_entries(values, weight, entries, divide, kept)),
        (chosen_products(tokens, weight, entries), chosen_products(tokens, weight, entries, many_zeros=True)),
    ):
        given = values.detach() if whole.dim() == 1 else upstream[:8]
        assert torch.equal(whole, part)
        found = (torch.autograd.grad((own * given).sum(), [values, weight], allow_unused=True) for own in (whole, part))
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_chosen_products_are_entries_of_the_dense_product_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    concepts, segments = torch.randint(11, (24,), generator=generator), torch.arange(8).repeat_interleave(3)
    tokens, upstream = torch.randn(8, 7, generator=generator), torch.randn(24, generator=generator)
    weight = torch.randn(11, 7, generator=generator).requires_grad_()
    dense = reference.chosen_products(tokens, weight, concepts, segments)
    (expected,) = torch.autograd.grad((dense * upstream).sum(), weight)
    found = chosen_products(tokens, weight, entries_of(concepts, segments, 8, 11))
    torch.testing.assert_close(found, dense, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad((found * upstream).sum(), weight)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-5)
