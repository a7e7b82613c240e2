"""Where a new backbone's dictionary starts beside frozen ones, whose concepts have their meanings already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE

TOKENS_CHUNK_SIZE = 2048  # tokens encoded at a time, which takes chunk x concepts numbers


@torch.no_grad()
def aligned_rows(usae: USAE, tokens: Mapping[str, Tensor], frozen: Sequence[str], new_tokens: Tensor) -> Tensor:
    """For each concept, the sum of what a new backbone sees where the frozen ones fire it, weighted by their codes.

    Args:
        usae: the model, its frozen encoders in evaluation mode.
        tokens: {backbone: raw tokens (n, width)}, of the frozen ones.
        frozen: their names.
        new_tokens: (n, new width), the new backbone's tokens at the same patches, centred.

    Returns:
        (n_concepts, new width); zero for a concept that does not fire.
    """
    sums = new_tokens.new_zeros(usae.n_concepts, new_tokens.shape[1])
    for name in frozen:
        for part, shown in zip(tokens[name].split(TOKENS_CHUNK_SIZE), new_tokens.split(TOKENS_CHUNK_SIZE), strict=True):
            codes = usae.encode(name, part.to(new_tokens.device, torch.float32))
            sums += tokens_of_concepts(codes, shown, usae.n_concepts)
    return sums


def tokens_of_concepts(codes: Codes, tokens: Tensor, n_concepts: int) -> Tensor:
    """Each concept's tokens, summed by their codes: the transpose of decoding.

    Args:
        codes: values and indices, each (tokens, k).
        tokens: (tokens, width).
        n_concepts: rows of the result.
    """
    sums = tokens.new_zeros(n_concepts, tokens.shape[1])
    for values, indices in zip(codes.values.T, codes.indices.T, strict=True):  # all at once would be tokens x k x width
        sums.index_add_(0, indices, tokens * values[:, None])
    return sums
