"""BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): the k * batch largest of a batch, then a threshold."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.sparsity.variant import Sparsity, above


class BatchTopK(Sparsity):
    """What exceeds one threshold a backbone, which training measured; about k a token."""

    kind: Literal["batchtopk"] = "batchtopk"

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """What exceeds the threshold."""
        assert threshold is not None
        return above(pre_codes, threshold)

    def threshold_shape(self, n_concepts: int) -> tuple[int, ...]:
        """One number."""
        return ()

    def in_words(self, k: int) -> str:
        """The mean of training."""
        return f"about {k} active a patch"
