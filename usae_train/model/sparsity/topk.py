"""TopK: the k largest pre-codes of each token (Gao et al. 2024, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from usae_train.model.sparse import GROUPS, Codes, top_indices, top_k
from usae_train.model.sparsity.variant import EntryIndices, Sparsity
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext


class TopK(Sparsity):
    """The k largest, after a ReLU unless `signed`: then a token with fewer than k positive ones has negative codes."""

    kind: Literal["topk"] = "topk"
    signed: bool = False

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """The k largest."""
        return Codes(*pre_codes.topk(k, dim=-1)) if self.signed else top_k(pre_codes, k)

    def slots(self, k: int) -> int:
        """Always k."""
        return k

    def in_words(self, k: int) -> str:
        """The count itself."""
        return f"{k} active per patch"

    @property
    def can_train(self) -> bool:
        """With a ReLU."""
        return not self.signed

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> EntryIndices:
        """The k largest of each token, positive or not."""
        return EntryIndices.of_each_token(top_indices(pre_codes, k, sizes))
