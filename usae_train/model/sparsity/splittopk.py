"""TopK of shared and of private concepts apart: so many of either are active in every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from usae_train.model.sparse import GROUPS, Codes, top_indices, top_k
from usae_train.model.sparsity.variant import Chosen, Sparsity
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError


class SplitTopK(Sparsity):
    """The k - `k_private` largest of the first `n_shared` concepts, and the `k_private` largest of the others.

    Of one TopK over all, private concepts take as many slots as they can win, from the backbones that could have used
    shared ones: tests/benchmarks/private_concepts.py has what either explains.
    """

    kind: Literal["splittopk"] = "splittopk"
    n_shared: int = Field(0, ge=0)
    k_private: int = Field(0, ge=0)

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """Both together, the largest first."""
        shared, private = self._parts(pre_codes)
        ours, own = top_k(shared, k - self.k_private), top_k(private, self.k_private)
        values, order = torch.cat([ours.values, own.values], -1).sort(dim=-1, descending=True, stable=True)
        return Codes(values, torch.cat([ours.indices, own.indices + self.n_shared], -1).gather(-1, order))

    def check_sizes(self, k: int, n_concepts: int) -> None:
        """See `Sparsity`."""
        private = n_concepts - self.n_shared
        if not (0 < self.k_private < k and self.k_private <= private and k - self.k_private <= self.n_shared):
            raise UsageError(
                f"{self.k_private} of {k} active concepts are private, and {self.n_shared} of {n_concepts} concepts "
                "shared; expected some of both, and no more than there are"
            )

    def slots(self, k: int) -> int:
        """Always k."""
        return k

    def in_words(self, k: int) -> str:
        """Both counts."""
        return f"{k} active a patch, {self.k_private} of them private"

    @property
    def can_train(self) -> bool:
        """Where there are two parts, which a training's settings say (`sparsity_of`)."""
        return self.n_shared > 0 and self.k_private > 0

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> Chosen:
        """The largest of each part of each token, positive or not."""
        shared, private = self._parts(pre_codes)
        ours, own = top_indices(shared, k - self.k_private, sizes), top_indices(private, self.k_private, sizes)
        return Chosen.of_each_token(torch.cat([ours, own + self.n_shared], -1))

    def _parts(self, pre_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-codes (..., n_concepts) of the shared concepts, and of the others."""
        return pre_codes[..., : self.n_shared], pre_codes[..., self.n_shared :]
