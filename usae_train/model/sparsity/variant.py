"""What every variant of sparsity is: settings that config.json keeps, and pre-codes -> codes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from usae_train.model.sparse import Codes


class Sparsity(BaseModel, ABC):
    """Which concepts of a token are active, once a USAE is trained.

    A variant is a file beside this one: a subclass with a `kind` of its own and the settings that a USAE keeps. What
    else asks of a USAE's sparsity asks these methods.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    @abstractmethod
    def codes(self, pre_codes: Tensor, k: int, threshold: Tensor | None) -> Codes:
        """Pre-codes (..., n_concepts) -> codes (..., slots) twice.

        Args:
            pre_codes: of one backbone.
            k: the USAE's.
            threshold: the backbone's, of the shape that `threshold_shape` says; None where that is None.
        """

    def threshold_shape(self, n_concepts: int) -> tuple[int, ...] | None:
        """The shape of what a pre-code must exceed, which a USAE keeps per backbone; None without one."""
        return None

    def slots(self, k: int) -> int | None:
        """How many values a token's codes have; None where that depends on the tokens."""
        return None

    @abstractmethod
    def in_words(self, k: int) -> str:
        """How many are active a patch: `32 active a patch`."""


def above(pre_codes: Tensor, threshold: Tensor | float) -> Codes:
    """ReLU of the pre-codes that exceed a threshold, in as many slots as the fullest token takes.

    Args:
        pre_codes: (..., n_concepts).
        threshold: a number, or (n_concepts,).
    """
    kept = torch.where(pre_codes > threshold, pre_codes.relu(), 0.0)
    counts = (kept > 0).sum(-1)
    slots = max(1, int(counts.max())) if counts.numel() else 1
    return Codes(*kept.topk(slots, dim=-1))
