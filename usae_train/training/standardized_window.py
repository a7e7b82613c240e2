"""Tokens that stay in memory are standardized once, not at each step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.capacity import free_memory
from usae_train.runtime.distributed import DistributedContext
from usae_train.tokens.feeding import Feed
from usae_train.training.kernels.products import product
from usae_train.training.settings import FitSettings

FREE_SHARE = 1 / 3  # of the free memory, which standardized tokens may take beside the raw ones


def pays_to_standardize_once(
    feed: Feed, settings: FitSettings, device: torch.device | str, ranks: DistributedContext
) -> bool:
    """Whether all tokens are in memory, are shown more than once, and fit there again in float32.

    A step of the paper's size on one core of an EPYC then takes 22 of 209 ms less, with the same numbers. A GPU
    standardizes tokens itself; several processes would each standardize all tokens for a part of them; and masked
    outliers are recognized by the norms of raw tokens.
    """
    in_memory = len(feed.windows(torch.Generator())) == 1
    shown_again = settings.steps * settings.batch > len(feed)
    size = len(feed) * sum(feed.widths.values()) * torch.float32.itemsize
    on_one_cpu = ranks.world_size == 1 and torch.device(device).type == "cpu" and not settings.mask_outliers
    # raw tokens take no more than these, and may stay
    fits = 2 * size <= feed.memory and size < FREE_SHARE * free_memory()
    return on_one_cpu and in_memory and shown_again and fits


def standardized(usae: USAE, name: str, tokens: Tensor) -> Tensor:
    """A backbone's tokens (tokens, width) as training takes them: in float32, multiplied at the fast precision."""
    return usae.scale(name)(tokens.float(), product)  # type: ignore[no-any-return]


class StandardizedWindow:
    """Standardizes a window's tokens in batches, as the steps would.

    Args:
        usae: whose standardization it is.
        batch: tokens per batch.
    """

    def __init__(self, usae: USAE, batch: int) -> None:
        self.usae, self.batch = usae, batch

    def __call__(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{backbone: (tokens, width)} in float32."""
        return {name: self._standardized(name, raw) for name, raw in tokens.items()}

    def _standardized(self, name: str, tokens: Tensor) -> Tensor:
        whole = torch.empty(tokens.shape)
        for part, into in zip(tokens.split(self.batch), whole.split(self.batch), strict=True):
            into.copy_(standardized(self.usae, name, part))
        return whole
