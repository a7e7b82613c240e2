"""Tokens that stay in memory are standardized once, and not at each step that shows them."""

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

FREE_SHARE = 1 / 3  # of the free memory, which standardized tokens may take beside those that were given


def pays_to_standardize_once(
    feed: Feed, settings: FitSettings, device: torch.device | str, ranks: DistributedContext
) -> bool:
    """Whether all tokens are in memory, are shown more than once, and fit there again in float32.

    A step of the paper's size on one core of an EPYC takes 22 of 209 ms less then, and has the same numbers. A GPU has
    tokens standardized where it multiplies; of several processes each would standardize all tokens for its part of
    them; and outliers that are left out are told by the norms of tokens as they were given.
    """
    in_memory = len(feed.windows(torch.Generator())) == 1
    again = settings.steps * settings.batch > len(feed)
    size = len(feed) * sum(feed.widths.values()) * torch.float32.itemsize
    alone = ranks.world_size == 1 and torch.device(device).type == "cpu" and not settings.mask_outliers
    return alone and in_memory and again and size < FREE_SHARE * free_memory()


class StandardizedWindow:
    """Standardizes a window's tokens as the steps do theirs, so many at a time.

    Args:
        usae: whose standardization it is.
        batch: tokens at a time.
    """

    def __init__(self, usae: USAE, batch: int) -> None:
        self.usae, self.batch = usae, batch

    def __call__(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{backbone: (tokens, width)} in float32."""
        return {name: self._standardized(name, given) for name, given in tokens.items()}

    def _standardized(self, name: str, tokens: Tensor) -> Tensor:
        standardized, scale = torch.empty(tokens.shape), self.usae.scale(name)
        for part, into in zip(tokens.split(self.batch), standardized.split(self.batch), strict=True):
            into.copy_(scale(part.float(), product))
        return standardized
