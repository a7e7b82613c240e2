"""JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): one threshold per concept, learned through the jump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from usae_train.model.sparse import GROUPS, Codes
from usae_train.model.sparsity.variant import EntryIndices, Sparsity, batch_threshold, codes_above, entries_above
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext

MIN_THRESHOLD = 1e-4  # smallest threshold in training, where a step may take one below zero; then it is a ReLU


class JumpReLU(Sparsity):
    """What exceeds its concept's threshold; a penalty keeps their number near k.

    Thresholds have gradients from the pre-codes within half a `bandwidth` of them, here a share of the threshold, so
    that it suits pre-codes of any size.
    """

    kind: Literal["jumprelu"] = "jumprelu"
    bandwidth: float = Field(0.5, gt=0, lt=2, exclude=True)  # not saved in a USAE, as the next two
    rate: float = Field(5.0, gt=0, exclude=True)  # of the thresholds, in units of the recipe's
    weight: float = Field(1.0, ge=0, exclude=True)  # of the penalty (active / k - 1)^2: the paper's appendix

    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """What exceeds its threshold."""
        assert threshold is not None
        return codes_above(pre_codes, threshold)

    def threshold_shape(self, n_concepts: int) -> tuple[int, ...]:
        """A number per concept."""
        return (n_concepts,)

    def in_words(self, k: int) -> str:
        """No count is known."""
        return "those active that exceed a threshold of their own"

    @property
    def threshold_rate(self) -> float:
        """By the gradients of `activate` and `penalty`."""
        return self.rate

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> EntryIndices:
        """What exceeds its threshold, and what is not half a bandwidth below."""
        assert threshold is not None
        return entries_above(pre_codes, threshold.clamp_min(MIN_THRESHOLD) * (1 - self.bandwidth / 2))

    def activate(self, pre_codes: Tensor, concepts: Tensor, threshold: Tensor | None) -> Tensor:
        """The pre-codes above their thresholds."""
        assert threshold is not None
        codes: Tensor = _Jump.apply(pre_codes, threshold, concepts, self.bandwidth)
        return codes

    def penalty(
        self,
        pre_codes: Tensor,
        chosen: EntryIndices,
        revived: Tensor | None,
        n_tokens: int,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
    ) -> Tensor:
        """How far the mean number of active concepts is from k, in units of k, squared."""
        assert threshold is not None
        pre_codes = pre_codes.detach()
        if revived is not None:  # they are not active
            pre_codes = pre_codes.masked_fill(revived, -1.0)
        active = _Count.apply(pre_codes, threshold, chosen.concepts, self.bandwidth) / max(n_tokens, 1)
        penalty: Tensor = self.weight * ((active + (ranks.mean(active) - active).detach()) / k - 1).square()
        return penalty

    def start(self, threshold: Tensor, pre_codes: Tensor, k: int) -> None:
        """One for all concepts, which k pre-codes per token exceed."""
        threshold.copy_(batch_threshold(pre_codes, k).expand_as(threshold))

    def finish(self, threshold: Tensor, pre_codes: Tensor, k: int) -> None:
        """Scale all thresholds so that k are active on average.

        Encoders trained with noise have half as many active without it (recipe `default`, 200 steps on real networks:
        6.6 of 12), but their thresholds are right relative to each other.
        """
        threshold.clamp_min_(MIN_THRESHOLD)
        scale = batch_threshold(pre_codes / threshold, k)
        if scale > 0:
            threshold.mul_(scale)


def _near(gradient: Tensor, pre_codes: Tensor, thresholds: Tensor, bandwidth: float) -> Tensor:
    """The part of a gradient (entries,) within half a bandwidth of its threshold: the paper's rectangle kernel."""
    near = (pre_codes - thresholds).abs() < thresholds * (bandwidth / 2)
    return torch.where(near, gradient, 0.0) / -bandwidth


def _noted_thresholds(ctx: Any, pre_codes: Tensor, threshold: Tensor, concepts: Tensor, bandwidth: float) -> Tensor:
    """Each entry's threshold, (entries,); saved with what `backward` needs."""
    thresholds = threshold.index_select(0, concepts).clamp_min(MIN_THRESHOLD)
    ctx.save_for_backward(pre_codes, thresholds, concepts, threshold)
    ctx.bandwidth = bandwidth
    return thresholds


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_codes: Tensor, threshold: Tensor, concepts: Tensor, bandwidth: float) -> Tensor:
        thresholds = _noted_thresholds(ctx, pre_codes, threshold, concepts, bandwidth)
        return torch.where(pre_codes > thresholds, pre_codes, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pre_codes, thresholds, concepts, threshold = ctx.saved_tensors
        to_own = _near(gradient, pre_codes, thresholds, ctx.bandwidth)
        to_threshold = torch.zeros_like(threshold).index_add_(0, concepts, to_own)
        return torch.where(pre_codes > thresholds, gradient, 0.0), to_threshold, None, None


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_codes: Tensor, threshold: Tensor, concepts: Tensor, bandwidth: float) -> Tensor:
        return (pre_codes > _noted_thresholds(ctx, pre_codes, threshold, concepts, bandwidth)).sum().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        pre_codes, thresholds, concepts, threshold = ctx.saved_tensors
        to_own = _near(gradient / thresholds, pre_codes, thresholds, ctx.bandwidth)
        return None, torch.zeros_like(threshold).index_add_(0, concepts, to_own), None, None
