"""Paired tokens that a caller has, as tensors or NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from usae_train.runtime.arrays import Array, floats_of
from usae_train.runtime.errors import UsageError
from usae_train.tokens.token_tables import check_pairs


def token_tensors(data: Mapping[str, Array]) -> dict[str, Tensor]:
    """{backbone: tokens} as tensors.

    Raises:
        ValueError: for what is neither a tensor nor an array of floating-point numbers.
    """
    return {name: floats_of(tokens, f"{name}: tokens") for name, tokens in data.items()}


def paired_tokens(data: Mapping[str, Array], widths: Mapping[str, int]) -> dict[str, Tensor]:
    """Tokens of every backbone of a USAE, (n, width).

    Args:
        data: {backbone: (n, width) or (images, tokens, width)}, row n the same patch of the same image in all.
        widths: {backbone: width} of the USAE.

    Raises:
        ValueError: for a missing or unknown backbone, another width, or rows that do not pair.
    """
    if data.keys() != widths.keys():
        raise UsageError(f"tokens of {', '.join(data) or 'no backbone'}; expected those of {', '.join(widths)}")
    tokens = token_tensors(data)
    for name, values in tokens.items():
        if values.ndim < 2 or values.shape[-1] != widths[name] or values.numel() == 0:
            raise UsageError(f"{name}: tokens are {tuple(values.shape)}; expected (n, {widths[name]})")
    check_pairs(tokens)
    return {name: tokens[name].flatten(0, -2) for name in widths}
