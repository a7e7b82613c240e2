"""How a USAE standardizes a backbone's tokens, and the inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

STD_EPSILON = 1e-5  # as the authors' code: (a - mean) / (std + 1e-5)


class Standardization(nn.Module):
    """(a - mean) / (std + 1e-5) with one mean and std for all, or (a - mean token) @ matrix, or a - mean token alone.

    The published recipe has the first, ours the second, autoencoders of other libraries the third. A loaded state
    decides which it is.
    """

    mean: Tensor  # (), or (width,) without a std
    std: Tensor | None
    matrix: Tensor | None  # (width, width)
    inverse_matrix: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("matrix", None)
        self.register_buffer("inverse_matrix", None)

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take one mean and std, each a scalar."""
        self.mean, self.std = mean.to(self.mean), std.to(self.mean)
        self.matrix = self.inverse_matrix = None

    def set_matrix(self, mean: Tensor, matrix: Tensor) -> None:
        """Take a mean token (width,) and a matrix (width, width) that has an inverse, best in float64."""
        self.matrix, self.inverse_matrix = matrix.to(self.mean), torch.linalg.inv(matrix).to(self.mean)
        self.mean, self.std = mean.to(self.mean), None

    def set_mean_token(self, mean: Tensor) -> None:
        """Take a mean token (width,), without scaling."""
        self.mean, self.std = mean.to(self.mean), None
        self.matrix = self.inverse_matrix = None

    def forward(self, tokens: Tensor, multiply: Callable[[Tensor, Tensor], Tensor] = torch.matmul) -> Tensor:
        if self.matrix is not None:
            return multiply(tokens - self.mean, self.matrix)
        if self.std is None:
            return tokens - self.mean
        return (tokens - self.mean).div_(self.std + STD_EPSILON)

    def inverse(self, tokens: Tensor) -> Tensor:
        if self.inverse_matrix is not None:
            return tokens @ self.inverse_matrix + self.mean
        if self.std is None:
            return tokens + self.mean
        return tokens * (self.std + STD_EPSILON) + self.mean

    def inverse_of_difference(self, difference: Tensor) -> Tensor:
        """A difference of standardized tokens (..., width) as one of raw tokens."""
        if self.inverse_matrix is not None:
            return difference @ self.inverse_matrix
        if self.std is None:
            return difference
        return difference * (self.std + STD_EPSILON)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """An affine map of standardized tokens, (n, width) and (n,), as one of raw tokens."""
        if self.matrix is not None:
            weight = weight @ self.matrix.T
        if self.std is None:
            return weight, bias - weight @ self.mean
        weight = weight / (self.std + STD_EPSILON)
        return weight, bias - self.mean * weight.sum(-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take the form of the saved state."""
        if prefix + "mean" in state_dict:
            for part in ("mean", "std", "matrix", "inverse_matrix"):
                saved = state_dict.get(prefix + part)
                setattr(self, part, None if saved is None else self.mean.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)
