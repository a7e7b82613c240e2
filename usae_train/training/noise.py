"""Noise on the tokens that encoders see: what an encoder learns from few pictures holds for others as well."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Noise(NamedTuple):
    """The noise of one step. It belongs to a token's place in the whole batch, whichever process has the token.

    Attributes:
        strength: its std, in units of the tokens' own.
        seed: of the step.
        batch: tokens a step, of all processes.
    """

    strength: float
    seed: int
    batch: int

    def onto(self, tokens: Tensor, places: Tensor, backbone: int, spread: float, sharing: int = 1) -> Tensor:
        """Tokens (n, width) with noise, as new ones.

        Args:
            tokens: standardized.
            places: (n,) which of the whole batch's tokens these are.
            backbone: its number; each has noise of its own.
            spread: root mean square of the backbone's tokens.
            sharing: how many backbones share the batch, a token each in turn.
        """
        generator = torch.Generator(tokens.device).manual_seed(self.seed + backbone)
        rows = -(-self.batch // sharing)
        drawn = torch.randn(rows, tokens.shape[1], generator=generator, device=tokens.device)
        return torch.add(tokens, drawn[places // sharing], alpha=self.strength * spread)
