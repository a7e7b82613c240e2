import pytest
import torch

from usae_train.losses import absolute_error, dead_error, r2, squared_error

TOKENS = torch.tensor([[1.0, 2.0], [0.0, -4.0]])
DECODED = torch.tensor([[0.0, 4.0], [0.0, 0.0]])


def test_absolute_error_is_the_mean_over_tokens_and_features() -> None:
    assert absolute_error(TOKENS, DECODED).item() == pytest.approx((1 + 2 + 0 + 4) / 4)


def test_squared_error_is_the_mean_over_tokens_and_features() -> None:
    assert squared_error(TOKENS, DECODED).item() == pytest.approx((1 + 4 + 0 + 16) / 4)


def test_dead_error_by_hand() -> None:
    residual = torch.tensor([[3.0, 4.0]])
    revived = torch.tensor([[2.0, 0.0]], requires_grad=True)
    loss = dead_error(residual, revived)
    assert loss.item() == pytest.approx((1 + 16) / (9 + 16))
    loss.backward()
    assert revived.grad is not None
    torch.testing.assert_close(revived.grad, torch.tensor([[-2 / 25, -8 / 25]]))


def test_dead_error_without_a_residual_is_zero() -> None:
    assert dead_error(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0


def test_r2_by_hand() -> None:
    assert r2(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0]])).item() == pytest.approx(0.5)


def test_r2_is_one_for_the_tokens_and_zero_for_each_features_mean() -> None:
    tokens = torch.tensor([[0.0, 10.0], [2.0, 14.0]])
    assert r2(tokens, tokens).item() == 1
    assert r2(tokens, tokens.mean(0).expand(2, 2)).item() == pytest.approx(0)
    assert r2(tokens, tokens.mean().expand(2, 2)).item() < -1
