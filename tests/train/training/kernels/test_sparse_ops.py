import pytest
import torch
from torch.nn import functional

from usae_train.training.kernels import reference
from usae_train.training.kernels.sparse_ops import (
    chosen_pre_codes,
    decode,
    decode_entries,
    entries_of,
    nonzero_entries,
    sampled_dot,
    stable_order,
    transpose,
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


def test_many_inner_products_are_the_same_but_for_last_bits_and_nothing_is_warned_of() -> None:
    """Segments and concepts without an entry are among them, and one pair that is there twice."""
    assert sampled_dot(ENTRIES, SEGMENTS, TABLE, many=True).tolist() == [30.0, 2.0, 4.0, 3.0]
    generator = torch.Generator().manual_seed(0)
    concepts, segments = torch.randint(300, (999,), generator=generator), torch.arange(333).repeat_interleave(3)
    concepts[1] = concepts[0]
    by_segment, by_concept = torch.randn(340, 70, generator=generator), torch.randn(310, 70, generator=generator)
    entries = entries_of(concepts, segments, 340, 310)
    expected = sampled_dot(entries, by_segment, by_concept)
    torch.testing.assert_close(sampled_dot(entries, by_segment, by_concept, many=True), expected, atol=1e-5, rtol=1e-5)
    none = entries_of(concepts[:0], segments[:0], 340, 310)
    assert sampled_dot(none, by_segment, by_concept, many=True).shape == (0,)


@pytest.mark.parametrize("divide", [True, False])
def test_entries_whose_code_is_zero_are_left_out_of_sums_and_the_same_comes_out(divide: bool) -> None:
    """They have a gradient all the same, which a threshold needs. Inner products may differ in their last bits."""
    generator = torch.Generator().manual_seed(0)
    concepts, segments = torch.randint(11, (40,), generator=generator), torch.arange(8).repeat_interleave(5)
    entries, tokens = entries_of(concepts, segments, 8, 11), torch.randn(8, 7, generator=generator)
    values = torch.randn(40, generator=generator).relu().requires_grad_()
    weight, upstream = torch.randn(2, 11, 7, generator=generator)
    weight, kept = weight.requires_grad_(), nonzero_entries(entries, values.detach())
    assert kept.places.tolist() == values.nonzero().squeeze(1).tolist()
    bias, pre_codes = weight.new_zeros(11), (tokens @ weight.T).detach()
    for whole, part in (
        (decode_entries(values, weight, entries, divide), decode_entries(values, weight, entries, divide, kept)),
        (
            chosen_pre_codes(pre_codes, tokens, weight, bias, entries),
            chosen_pre_codes(pre_codes, tokens, weight, bias, entries, many_zeros=True),
        ),
    ):
        given = values.detach() if whole.dim() == 1 else upstream[:8]
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-5)
        found = (torch.autograd.grad((own * given).sum(), [values, weight], allow_unused=True) for own in (whole, part))
        for of_all, of_some in zip(*found, strict=True):
            assert (of_all is None) == (of_some is None)
            if of_all is not None:
                torch.testing.assert_close(of_some, of_all, atol=1e-5, rtol=1e-5)


def test_chosen_pre_codes_are_entries_of_the_dense_product_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    concepts, segments = torch.randint(11, (24,), generator=generator), torch.arange(8).repeat_interleave(3)
    tokens, upstream = torch.randn(8, 7, generator=generator), torch.randn(24, generator=generator)
    weight, bias = (torch.randn(11, *shape, generator=generator).requires_grad_() for shape in ((7,), ()))
    dense = reference.chosen_pre_codes(tokens, weight, bias, concepts, segments)
    expected = torch.autograd.grad((dense * upstream).sum(), [weight, bias])
    pre_codes = (tokens @ weight.T + bias).detach()
    chosen = chosen_pre_codes(pre_codes, tokens, weight, bias, entries_of(concepts, segments, 8, 11))
    torch.testing.assert_close(chosen, dense, atol=1e-5, rtol=1e-5)
    for gradient, wanted in zip(torch.autograd.grad((chosen * upstream).sum(), [weight, bias]), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-5)
