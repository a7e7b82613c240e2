"""Activations of backbones that share a known sparse code: a world in which a USAE's dictionaries can be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class KnownWorld:
    """`tokens` {backbone: (n, width)}, the true `atoms` {backbone: (concepts, width)}, and the true shared code."""

    tokens: dict[str, Tensor]
    atoms: dict[str, Tensor]
    code: Tensor  # (n, shared concepts)
    code_part: dict[str, Tensor]  # {backbone: (n, width)}: what the shared code alone explains


def known_world(
    n: int,
    generator: torch.Generator,
    widths: Mapping[str, int] | None = None,
    shared: int = 128,
    active: int = 6,
    private: int = 2,
    noise: float = 0.05,
    truth: KnownWorld | None = None,
    n_private: int = 32,
) -> KnownWorld:
    """Draw tokens from shared sparse concepts, Zipf-popular, each backbone with an atom of its own for each.

    Args:
        n: tokens per backbone.
        generator: CPU generator.
        widths: {backbone: width}; {"a": 64, "b": 48, "c": 64} by default.
        shared: concepts that all backbones have.
        active: concepts active in a token.
        private: further atoms active in a token, which only one backbone has.
        noise: variance of the white noise, as a share of the signal's.
        truth: a world whose atoms to use again, for held-out tokens.
        n_private: how many such atoms a backbone has to choose from.
    """
    widths = widths or {"a": 64, "b": 48, "c": 64}
    popularity = 1 / torch.arange(1, shared + 1).float()
    chosen = torch.multinomial(popularity.expand(n, -1), active, generator=generator)
    code = torch.zeros(n, shared).scatter(1, chosen, 0.5 + torch.rand(n, active, generator=generator))
    tokens, atoms, code_part = {}, {}, {}
    for name, width in widths.items():
        directions = functional.normalize(torch.randn(shared + n_private, width, generator=generator), dim=-1)
        atoms[name] = truth.atoms[name] if truth else directions
        aside = torch.randint(shared, shared + n_private, (n, private), generator=generator)
        private_code = torch.zeros(n, shared + n_private).scatter(1, aside, torch.rand(n, private, generator=generator))
        code_part[name] = code @ atoms[name][:shared]
        signal = code_part[name] + private_code @ atoms[name]
        spread = (noise * signal.var()).sqrt()
        tokens[name] = signal + spread * torch.randn(n, width, generator=generator)
    return KnownWorld(tokens, atoms, code, code_part)
