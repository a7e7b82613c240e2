"""The layout of a module's output (NLC, NHWC or NCHW), and the patch tokens in it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Order = Literal["NLC", "NHWC", "NCHW"]
# Largest difference of the same tokens by two ways through a network, in units of their spread; as `reading._shows`.
TOLERANCE = 1e-3


class Layout(NamedTuple):
    """Where the patch tokens are in a module's output."""

    order: Order
    prefix: int  # class and register tokens, which come before the patches

    def tokens(self, output: Tensor) -> Tensor:
        """All tokens of an output, the prefix too: (batch, prefix + token, width), row by row."""
        match self.order:
            case "NLC":
                return output
            case "NHWC":
                return output.flatten(1, 2)
            case "NCHW":
                return output.flatten(2).mT

    def like(self, tokens: Tensor, output: Tensor) -> Tensor:
        """Tokens (batch, prefix + token, any) in the layout of an output."""
        match self.order:
            case "NLC":
                return tokens
            case "NHWC":
                rows_first: Tensor = tokens.unflatten(1, output.shape[1:3])
                return rows_first
            case "NCHW":
                width_first: Tensor = tokens.mT.unflatten(2, output.shape[2:4])
                return width_first


def layout_of(output: object, tokens: Tensor) -> Layout | None:
    """The layout of these patch tokens (batch, token, width) in an output; None where they are not in it."""
    if not isinstance(output, Tensor):
        return None
    orders: dict[int, tuple[Order, ...]] = {3: ("NLC",), 4: ("NCHW", "NHWC")}
    for order in orders.get(output.ndim, ()):
        all_tokens = Layout(order, 0).tokens(output)
        prefix = all_tokens.shape[1] - tokens.shape[1]
        if prefix < 0 or (prefix and order != "NLC"):
            continue
        if nearly_equal(all_tokens[:, prefix:], tokens):
            return Layout(order, prefix)
    return None


def nearly_equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same but for rounding."""
    if tensor.shape != other.shape:
        return False
    spread = float(other.float().std(correction=0).clamp_min(1e-12))
    return (
        bool(torch.isfinite(tensor).all()) and float((tensor.float() - other.float()).abs().max()) <= TOLERANCE * spread
    )
