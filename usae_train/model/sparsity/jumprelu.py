"""JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): a threshold a concept."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.sparsity.variant import Sparsity, above


class JumpReLU(Sparsity):
    """What exceeds its concept's threshold."""

    kind: Literal["jumprelu"] = "jumprelu"

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """What exceeds its threshold."""
        assert threshold is not None
        return above(pre_codes, threshold)

    def threshold_shape(self, n_concepts: int) -> tuple[int, ...]:
        """A number a concept."""
        return (n_concepts,)

    def in_words(self, k: int) -> str:
        """No count is known."""
        return "those active that exceed a threshold of their own"
