import pytest
import torch

from usae_train.losses import absolute_error, dead_error, left_out_error, left_out_half, r2, squared_error
from usae_train.sparse import Codes

TOKENS = torch.tensor([[1.0, 2.0], [0.0, -4.0]])
DECODED = torch.tensor([[0.0, 4.0], [0.0, 0.0]])


def test_absolute_error_is_the_mean_over_tokens_and_features() -> None:
    assert absolute_error(TOKENS, DECODED).item() == pytest.approx((1 + 2 + 0 + 4) / 4)


def test_squared_error_is_the_mean_over_tokens_and_features() -> None:
    assert squared_error(TOKENS, DECODED).item() == pytest.approx((1 + 4 + 0 + 16) / 4)


def test_left_out_half_takes_the_largest_codes_that_top_k_left() -> None:
    codes = left_out_half(torch.tensor([[5.0, -1.0, 3.0, 2.0, 4.0, 1.0]]), k=2)
    assert codes.values.tolist() == [[3.0, 2.0, 1.0]]
    assert codes.indices.tolist() == [[2, 3, 5]]


def test_left_out_half_never_holds_what_top_k_kept_or_what_relu_closed() -> None:
    codes = left_out_half(torch.tensor([[5.0, -1.0, 3.0, 2.0]]), k=3)
    assert codes.values.tolist() == [[0.0, 0.0]]


def test_left_out_error_compares_with_the_residual() -> None:
    left_out = Codes(torch.tensor([[2.0]]), torch.tensor([[1]]))
    atoms = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    tokens, decoded = torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]])  # residual (1, 2), explained (2, 0)
    assert left_out_error(tokens, decoded, left_out, atoms).item() == pytest.approx((1 + 2) / 2)


def test_dead_error_by_hand() -> None:
    tokens, decoded = torch.tensor([[3.0, 5.0]]), torch.tensor([[0.0, 1.0]], requires_grad=True)  # residual (3, 4)
    pre_codes = torch.tensor([[9.0, 2.0, 9.0, -1.0]], requires_grad=True)
    atoms = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    loss = dead_error(tokens, decoded, pre_codes, atoms, torch.tensor([1, 3]), k=2)  # explained (2, 0), left (1, 4)
    assert loss.item() == pytest.approx((1 + 16) / (9 + 16))
    loss.backward()
    assert decoded.grad is None
    assert pre_codes.grad is not None
    # d/dz of (3 - z)^2 / 25 at z = 2
    torch.testing.assert_close(pre_codes.grad, torch.tensor([[0.0, -2 / 25, 0.0, 0.0]]))


def test_dead_error_uses_at_most_k_dead_concepts() -> None:
    pre_codes, atoms = torch.tensor([[1.0, 2.0]]), torch.eye(2)
    loss = dead_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), pre_codes, atoms, torch.tensor([0, 1]), k=1)
    assert loss.item() == pytest.approx(1 / 5)


def test_dead_error_without_dead_concepts_is_zero() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    assert dead_error(TOKENS, DECODED, torch.ones(2, 4), torch.ones(4, 2), nothing, 2).item() == 0


def test_r2_by_hand() -> None:
    assert r2(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0]])).item() == pytest.approx(0.5)


def test_r2_is_one_for_the_tokens_and_zero_for_each_features_mean() -> None:
    tokens = torch.tensor([[0.0, 10.0], [2.0, 14.0]])
    assert r2(tokens, tokens).item() == 1
    assert r2(tokens, tokens.mean(0).expand(2, 2)).item() == pytest.approx(0)
    assert r2(tokens, tokens.mean().expand(2, 2)).item() < -1
