import pytest
import torch

from usae_train.training.losses import absolute_error, dead_error, squared_error

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
