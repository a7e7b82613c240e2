"""Matrix products at the precision that is fast on the processor: bfloat16 or float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from usae_train.runtime.matrix_speed import multiplies_faster_in_bfloat16


def product_dtype(device: torch.device) -> torch.dtype:
    """What to multiply large matrices in; sums are float32 either way.

    One core of an EPYC with avx512_bf16 takes 74 ms for 1568 x 768 x 6144 in bfloat16, 176 ms in float32; one of a Xeon
    that has it too 186 and 107: so it is measured.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and multiplies_faster_in_bfloat16()
    return torch.bfloat16 if fast else torch.float32


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exact: bool, exact_gradients: bool, left: Tensor, *tables: Tensor) -> tuple[Tensor, ...]:
        factors = rounded = (left, *tables)
        if not (exact and exact_gradients):
            rounded = tuple(factor.to(product_dtype(left.device)) for factor in factors)
        ctx.save_for_backward(*(factors if exact_gradients else rounded))
        left, *others = factors if exact else rounded
        return tuple((left @ other).float() for other in others)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _, _, wants_left, *wants_tables = ctx.needs_input_grad
        left, *tables = ctx.saved_tensors
        rounded = [gradient.to(left.dtype) for gradient in gradients]
        to_left = (torch.cat(rounded, 1) @ torch.cat(tables, 1).T).float() if wants_left else None
        return (
            None,
            None,
            to_left,
            *(
                (left.T @ upstream).float() if needed else None
                for upstream, needed in zip(rounded, wants_tables, strict=True)
            ),
        )


def products(left: Tensor, *tables: Tensor, exact: bool = False, exact_gradients: bool = False) -> tuple[Tensor, ...]:
    """left @ table for each table, in float32; multiplied at the fast precision, and so are the gradients.

    Args:
        left: (n, inner), float32.
        tables: (inner, width) each, float32.
        exact: multiply in float32.
        exact_gradients: multiply the gradients in float32.
    """
    multiplied: tuple[Tensor, ...] = _Products.apply(exact, exact_gradients, left, *tables)
    return multiplied


def product(left: Tensor, table: Tensor) -> Tensor:
    """`products` of one table."""
    return products(left, table)[0]
