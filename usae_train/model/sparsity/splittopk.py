"""TopK of shared and of private concepts separately: a fixed number of each are active in every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from usae_train.model.private import PrivateConcepts
from usae_train.model.sparse import GROUPS, Codes, top_indices, top_k
from usae_train.model.sparsity.variant import EntryIndices, Sparsity
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError


class SplitTopK(Sparsity):
    """The k - `k_private` largest of the first `n_shared` concepts, and the `k_private` largest of the others.

    In one TopK over all, private concepts win slots that shared ones could have used; for what either explains see
    tests/benchmarks/private_concepts.py.
    """

    kind: Literal["splittopk"] = "splittopk"
    n_shared: int = Field(0, ge=0)
    k_private: int = Field(0, ge=0)

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """Both together, the largest first."""
        shared, private = self._parts(pre_codes)
        top_shared, top_private = top_k(shared, k - self.k_private), top_k(private, self.k_private)
        values, order = torch.cat([top_shared.values, top_private.values], -1).sort(
            dim=-1, descending=True, stable=True
        )
        return Codes(values, torch.cat([top_shared.indices, top_private.indices + self.n_shared], -1).gather(-1, order))

    def check_sizes(self, k: int, private: PrivateConcepts) -> None:
        """See `Sparsity`."""
        if self.n_shared != private.n_shared:
            raise UsageError(
                f"sparsity splittopk shares the first {self.n_shared} concepts, and the space "
                f"{private.n_shared} of {private.n_concepts}; expected the same"
            )
        least = min((len(concepts) for concepts in private.ranges.values()), default=0)
        if not (0 < self.k_private < k and self.k_private <= least and k - self.k_private <= self.n_shared):
            raise UsageError(
                f"{self.k_private} of {k} active concepts are private; expected some of both kinds, at most "
                f"{least} private ones and {self.n_shared} shared, as many as a backbone has"
            )

    def slots(self, k: int) -> int:
        """Always k."""
        return k

    def in_words(self, k: int) -> str:
        """Both counts."""
        return f"{k} active per patch, {self.k_private} of them private"

    @property
    def requested_by(self) -> str:
        """A training makes it from these (`sparsity_of`), so that its numbers cannot contradict them."""
        return "n_private and k_private"

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> EntryIndices:
        """The largest of each part of each token, positive or not."""
        shared, private = self._parts(pre_codes)
        top_shared, top_private = (
            top_indices(shared, k - self.k_private, sizes),
            top_indices(private, self.k_private, sizes),
        )
        return EntryIndices.of_each_token(torch.cat([top_shared, top_private + self.n_shared], -1))

    def _parts(self, pre_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-codes (..., n_concepts) of the shared concepts, and of the others."""
        return pre_codes[..., : self.n_shared], pre_codes[..., self.n_shared :]
