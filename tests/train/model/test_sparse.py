import pytest
import torch

from usae_train.model.sparse import Codes, joined_codes, sparse_decode, top_indices, top_k


def dense_top_k(pre_codes: torch.Tensor, k: int) -> torch.Tensor:
    """ReLU of the k largest, zeros elsewhere, by counting how many are larger."""
    larger = (pre_codes[..., None, :] > pre_codes[..., :, None]).sum(-1)
    return torch.where(larger < k, pre_codes.relu(), 0.0)


def test_top_k_by_hand() -> None:
    codes = top_k(torch.tensor([[0.5, -3.0, 2.0, 1.0], [-1.0, -2.0, 4.0, -3.0]]), 2)
    assert codes.values.tolist() == [[2.0, 1.0], [4.0, 0.0]]
    assert codes.indices[0].tolist() == [2, 3]
    assert codes.indices[1, 0] == 2


@pytest.mark.parametrize("k", [1, 3, 11])
def test_sparse_path_equals_the_dense_reference_with_its_gradients(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    weights = torch.randn(2, 5, 7, generator=generator)
    pre_codes = torch.randn(2, 5, 11, generator=generator).requires_grad_()
    dictionary = torch.randn(11, 7, generator=generator).requires_grad_()
    reference = dense_top_k(pre_codes, k) @ dictionary
    expected = torch.autograd.grad((reference * weights).sum(), [pre_codes, dictionary])
    decoded = sparse_decode(top_k(pre_codes, k), dictionary)
    found = torch.autograd.grad((decoded * weights).sum(), [pre_codes, dictionary])
    torch.testing.assert_close(decoded, reference, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert all(gradient.abs().sum() > 1 for gradient in expected)


def test_negative_pre_codes_among_the_top_k_get_no_gradient() -> None:
    pre_codes = torch.tensor([[1.0, -1.0]], requires_grad=True)
    top_k(pre_codes, 2).values.sum().backward()
    assert pre_codes.grad is not None
    assert pre_codes.grad.tolist() == [[1.0, 0.0]]


def test_dense_puts_each_value_at_its_concept() -> None:
    codes = Codes(torch.tensor([[3.0, 1.0], [2.0, 0.0]]), torch.tensor([[4, 0], [1, 3]]))
    assert codes.dense(5).tolist() == [[1.0, 0.0, 0.0, 0.0, 3.0], [0.0, 2.0, 0.0, 0.0, 0.0]]


def test_of_is_the_column_of_dense() -> None:
    codes = top_k(torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0)), 3)
    dense = codes.dense(9)
    for concept in range(9):
        assert torch.equal(codes.of(concept), dense[..., concept])
    assert (dense > 0).any()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_decoding_keeps_the_leading_shape(shape: tuple[int, ...]) -> None:
    codes = top_k(torch.ones(*shape, 4), 2)
    decoded = sparse_decode(codes, torch.ones(4, 5))
    assert decoded.shape == (*shape, 5)
    assert (decoded == 2).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("n_concepts", [72, 96, 288, 384, 100])  # grouped from 72 on, and the groups again from 288
def test_top_indices_are_those_of_a_full_sort(n_concepts: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(n_concepts)
    pre_codes = torch.randn(50, n_concepts, generator=generator).to(dtype)
    pre_codes[0] = pre_codes[0].sort().values  # the largest lie in neighbouring groups
    pre_codes[1, :: n_concepts // 6] += 10  # and here in one group, where there are groups
    found = top_indices(pre_codes, 3).sort(-1).values
    assert (found[:, 1:] > found[:, :-1]).all()
    values = pre_codes.gather(1, found).sort(-1, descending=True).values
    assert torch.equal(values, pre_codes.sort(-1, descending=True).values[:, :3])


def test_top_indices_have_every_positive_pre_code_when_there_are_fewer_than_k() -> None:
    pre_codes = -torch.arange(1.0, 289.0).repeat(2, 1)
    pre_codes[0, 250], pre_codes[0, 17] = 0.5, 2.0
    found = top_indices(pre_codes, 3)
    assert {17, 250} < set(found[0].tolist())
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_codes_of_unequal_slots_are_joined_and_name_each_concept_once():
    generator = torch.Generator().manual_seed(0)
    parts = [top_k(torch.randn(3, 2, 7, generator=generator), k) for k in (1, 7, 4)]
    together = joined_codes(parts)
    assert together.values.shape == (9, 2, 7)
    assert torch.equal(together.dense(7), torch.cat([part.dense(7) for part in parts]))
    assert torch.equal(together.indices.sort(dim=-1).values, torch.arange(7).expand(9, 2, 7))
    alike = joined_codes(parts[:1] * 2)
    assert torch.equal(alike.values, torch.cat([parts[0].values] * 2))
