"""BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): the k * batch largest of a batch, then a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from usae_train.model.sparse import GROUPS, Codes
from usae_train.model.sparsity.variant import (
    EntryIndices,
    Sparsity,
    batch_threshold,
    codes_above,
    entries_above,
    threshold_among,
)
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext


class BatchTopK(Sparsity):
    """What exceeds one threshold per backbone, which training measured; about k per token."""

    kind: Literal["batchtopk"] = "batchtopk"
    momentum: float = Field(0.9, ge=0, lt=1, exclude=True)  # of the running threshold, per step; not saved in a USAE

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """What exceeds the threshold."""
        assert threshold is not None
        return codes_above(pre_codes, threshold)

    def threshold_shape(self, n_concepts: int) -> tuple[int, ...]:
        """One number."""
        return ()

    def in_words(self, k: int) -> str:
        """The mean of training."""
        return f"about {k} active per patch"

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> EntryIndices:
        """The k * tokens largest of all that are positive, whichever token has them.

        Candidates are those above half of the threshold, for a pass over all pre-codes takes 9 ms (523 x 6144, one
        thread).
        """
        assert threshold is not None
        near = entries_above(pre_codes, threshold.item() / 2)
        values = pre_codes[near.tokens, near.concepts]
        least = threshold_among(values.float(), len(pre_codes), k, ranks)
        if least is None:
            return entries_above(pre_codes, batch_threshold(pre_codes, k, ranks=ranks))
        exceeding = (values > least.to(values.dtype)).nonzero().squeeze(1)
        return EntryIndices(near.tokens[exceeding], near.concepts[exceeding])

    def start(self, threshold: Tensor, pre_codes: Tensor, k: int) -> None:
        """From the starting weights."""
        threshold.copy_(batch_threshold(pre_codes, k))

    def follow(self, threshold: Tensor, pre_codes: Tensor, k: int, ranks: DistributedContext = SINGLE_PROCESS) -> None:
        """A running mean of the batches' thresholds."""
        threshold.lerp_(batch_threshold(pre_codes, k, threshold.item() / 2, ranks), 1 - self.momentum)
