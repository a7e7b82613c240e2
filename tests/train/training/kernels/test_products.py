"""Products that are rounded to bfloat16 where that is fast, and those that are not."""

import pytest
import torch
from torch import Tensor

from usae_train.training.kernels.products import products


@pytest.fixture(autouse=True)
def _bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16, whatever this processor is fast in."""
    monkeypatch.setattr("usae_train.training.kernels.products.product_dtype", lambda device: torch.bfloat16)


def factors() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((9, 16), (16, 5), (16, 7))
    first, second, third = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    return first, second, third


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("exact_gradients", [True, False])
def test_what_is_exact_is_float32s_and_the_rest_is_rounded(exact: bool, exact_gradients: bool) -> None:
    left, *tables = factors()
    found = products(left, *tables, exact=exact, exact_gradients=exact_gradients)
    plain = tuple(left @ table for table in tables)
    for own, expected in zip(found, plain, strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, expected, atol=0.1, rtol=0.01)
        assert torch.equal(own, expected) == exact
    given = tuple(own.detach() for own in found)  # the same gradients go in on both sides
    ours = torch.autograd.grad(found, (left, *tables), given)
    expected_gradients = torch.autograd.grad(plain, (left, *tables), given)
    for own, expected in zip(ours, expected_gradients, strict=True):
        torch.testing.assert_close(own, expected, atol=0.3, rtol=0.02)
        assert torch.allclose(own, expected, atol=1e-5) == exact_gradients
