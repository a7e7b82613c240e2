"""ReLU alone: every positive pre-code is a code, as in autoencoders trained with an L1 penalty."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.sparsity.variant import Sparsity, codes_above


class ReLU(Sparsity):
    """What is positive."""

    kind: Literal["relu"] = "relu"

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """What is positive."""
        return codes_above(pre_codes, 0.0)

    def in_words(self, k: int) -> str:
        """No count is known."""
        return "all active that are positive"

    @property
    def can_train(self) -> bool:
        """It would need an L1 penalty, which nothing here trains with."""
        return False
