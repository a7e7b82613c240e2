"""What every variant of sparsity is: settings that config.json keeps, pre-codes -> codes, and how it is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor

from usae_train.files.validation import FrozenModel
from usae_train.model.private import PrivateConcepts
from usae_train.model.sparse import BITS, GROUPS, Codes
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext


class EntryIndices(NamedTuple):
    """The entries of tokens x concepts that a step computes: a token's concepts ascending, tokens in their order.

    Attributes:
        tokens: (entries,) which token.
        concepts: (entries,) which concept of it.
    """

    tokens: Tensor
    concepts: Tensor

    @classmethod
    def of_each_token(cls, concepts: Tensor) -> EntryIndices:
        """The same number for every token: concepts (tokens, k), in any order."""
        n_tokens, k = concepts.shape
        return cls(
            torch.arange(n_tokens, device=concepts.device).repeat_interleave(k), concepts.sort(-1).values.flatten()
        )


class Sparsity(FrozenModel, ABC):
    """Which concepts of a token are active.

    A variant is a file beside this one: a subclass with a `kind` of its own and the settings that a USAE keeps. Other
    code uses only these methods: the first ones on a trained USAE, those after `can_train` in training.
    """

    model_config = ConfigDict(allow_inf_nan=False)

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
        """The shape of the threshold that a USAE keeps per backbone; None without one."""
        return None

    def check_sizes(self, k: int, private: PrivateConcepts) -> None:
        """Refuse settings that do not fit these sizes; accepts all by default.

        Args:
            k: the USAE's.
            private: the USAE's private concepts.

        Raises:
            UsageError: for settings that no space of these sizes can have.
        """

    def slots(self, k: int) -> int | None:
        """How many values a token's codes have; None where that depends on the tokens."""
        return None

    @abstractmethod
    def in_words(self, k: int) -> str:
        """How many are active per patch: `32 active per patch`."""

    @property
    def can_train(self) -> bool:
        """Whether the methods below are implemented."""
        return True

    @property
    def requested_by(self) -> str:
        """The settings of a training that ask for this; empty where its name in `sparsity` does."""
        return ""

    @property
    def threshold_rate(self) -> float | None:
        """Learning rate of the threshold, in units of the recipe's; None where it has no gradients."""
        return None

    def choose(
        self,
        pre_codes: Tensor,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
        sizes: Sequence[int] = GROUPS,
    ) -> EntryIndices:
        """What a step computes of tokens x concepts: what is active, and what else has a gradient.

        Args:
            pre_codes: (tokens, n_concepts) of one backbone, perhaps rounded to bfloat16; no gradient is asked for.
            k: the USAE's.
            threshold: the backbone's.
            ranks: who has the other parts of the batch.
            sizes: see `top_indices`.
        """
        raise NotImplementedError

    def activate(self, pre_codes: Tensor, concepts: Tensor, threshold: Tensor | None) -> Tensor:
        """The values of what was chosen (entries,), with gradients: by default a ReLU."""
        return pre_codes.relu()

    def penalty(
        self,
        pre_codes: Tensor,
        chosen: EntryIndices,
        revived: Tensor | None,
        n_tokens: int,
        k: int,
        threshold: Tensor | None,
        ranks: DistributedContext = SINGLE_PROCESS,
    ) -> Tensor | None:
        """A further term of a step's loss, a scalar; None for nothing.

        Args:
            pre_codes: (entries,) of what was chosen.
            chosen: their tokens and concepts.
            revived: (entries,) bool, which are dead concepts, only for the auxiliary term; None without any.
            n_tokens: how many there are, those without an entry included.
            k: the USAE's.
            threshold: the backbone's.
            ranks: who has the other parts of the batch.
        """
        return None

    @property
    def follows(self) -> bool:
        """Whether `follow` moves the threshold after a step; tokens have to be encoded for it."""
        return type(self).follow is not Sparsity.follow

    def start(self, threshold: Tensor, pre_codes: Tensor, k: int) -> None:
        """Set the threshold where training starts, from pre-codes (tokens, n_concepts) of the starting weights."""

    def follow(self, threshold: Tensor, pre_codes: Tensor, k: int, ranks: DistributedContext = SINGLE_PROCESS) -> None:
        """Move the threshold after a step, from pre-codes (tokens, n_concepts) as they are without noise."""

    def finish(self, threshold: Tensor, pre_codes: Tensor, k: int) -> None:
        """Set the threshold that a USAE keeps, when training is over; pre-codes (tokens, n_concepts) without noise."""


def codes_above(pre_codes: Tensor, threshold: Tensor | float) -> Codes:
    """ReLU of the pre-codes that exceed a threshold, in as many slots as the fullest token takes.

    Args:
        pre_codes: (..., n_concepts).
        threshold: a number, or (n_concepts,).
    """
    active = torch.where(pre_codes > threshold, pre_codes.relu(), 0.0)
    counts = (active > 0).sum(-1)
    slots = max(1, int(counts.max())) if counts.numel() else 1
    return Codes(*active.topk(slots, dim=-1))


def entries_above(pre_codes: Tensor, threshold: Tensor | float) -> EntryIndices:
    """The entries of (tokens, n_concepts) that exceed a threshold: a number, or (n_concepts,).

    Pre-codes are finite; a NaN may be chosen or not.
    """
    limit = torch.as_tensor(threshold, dtype=pre_codes.dtype, device=pre_codes.device)  # float32 would be slower
    if pre_codes.device.type != "cpu" or torch.compiler.is_compiling() or limit.signbit().any():  # -0.0 as well
        return EntryIndices(*(pre_codes > limit).nonzero().unbind(1))
    # numpy, and the bits of floats as integers (see `top_indices`): 1.3 ms for 523 x 6144 in bfloat16, torch 6.5
    numbers, least = (values.detach().contiguous().view(BITS[values.dtype]).numpy() for values in (pre_codes, limit))
    places = torch.from_numpy(np.flatnonzero(numbers > least))
    tokens = places // pre_codes.shape[1]
    return EntryIndices(tokens, places - tokens * pre_codes.shape[1])


def batch_threshold(
    pre_codes: Tensor, k: int, floor: float = 0.0, ranks: DistributedContext = SINGLE_PROCESS
) -> Tensor:
    """The threshold that k * tokens pre-codes of a batch exceed, a scalar; 0 where no more are positive.

    Args:
        pre_codes: (tokens, n_concepts).
        k: how many of a token, on average.
        floor: most likely below the threshold: only pre-codes above it are considered, unless they are too few.
        ranks: who has the other parts of the batch.
    """
    candidates = pre_codes[pre_codes > floor].float()
    threshold = threshold_among(candidates, len(pre_codes), k, ranks)
    if threshold is not None:
        return threshold
    return batch_threshold(pre_codes, k, 0.0, ranks) if floor > 0 else candidates.new_zeros(())


def threshold_among(
    candidates: Tensor, n_tokens: int, k: int, ranks: DistributedContext = SINGLE_PROCESS
) -> Tensor | None:
    """The threshold that k * tokens of some pre-codes (candidates,) exceed, a scalar; None where there are no more."""
    tokens, count = (int(sum(ranks.gather(local))) for local in (n_tokens, len(candidates)))
    if count <= k * tokens:
        return None
    every = ranks.all_gather_rows(candidates)
    return every.kthvalue(len(every) - k * tokens).values
