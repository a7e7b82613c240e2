"""What the fast kernels compute, laid out densely: for readers, and for tests to compare with. Nothing else runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.model.usae import USAE
from usae_train.training.settings import TrainingRecipe


def decode(values: Tensor, concepts: Tensor, segments: Tensor, n_segments: int, atoms: Tensor) -> Tensor:
    """(n_segments, width): codes (entries,) as a dense (n_segments, n_concepts) matrix, times atoms; `sparse_ops`."""
    codes = values.new_zeros(n_segments, len(atoms)).index_put((segments, concepts), values, accumulate=True)
    return codes @ atoms


def chosen_pre_codes(tokens: Tensor, weight: Tensor, bias: Tensor, concepts: Tensor, segments: Tensor) -> Tensor:
    """(entries,) of tokens (n_segments, width) @ weight (n_concepts, width).T + bias (n_concepts,); `sparse_ops`."""
    return (tokens @ weight.T + bias)[segments, concepts]


def top_k(pre_codes: Tensor, k: int) -> Tensor:
    """(tokens, n_concepts): ReLU of the k largest of each token, zero elsewhere; `model.sparse`."""
    return torch.where(_ranks_by_size(pre_codes) < k, pre_codes.relu(), 0.0)


def topk_complement(pre_codes: Tensor, k: int) -> Tensor:
    """(tokens, n_concepts): what follows the k largest, half as many as concepts; `topk_complement`."""
    rank = _ranks_by_size(pre_codes)
    return torch.where((rank >= k) & (rank < k + pre_codes.shape[1] // 2), pre_codes.relu(), 0.0)


def matryoshka_errors(codes: Tensor, atoms: Tensor, offset: Tensor, tokens: Tensor, shares: Sequence[float]) -> Tensor:
    """A scalar: mean squared errors of the first concepts alone, for each share of all of them; `matryoshka`."""
    total = tokens.new_zeros(())
    for share in shares:
        first = codes * (torch.arange(codes.shape[1]) < round(share * codes.shape[1]))
        total = total + (tokens - first @ atoms - offset).square().mean()
    return total


def step_loss(
    usae: USAE, batch: Mapping[str, Tensor], encoding: Sequence[str], recipe: TrainingRecipe, dead: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a step, and which concepts fired in it through which encoder; see `step.step_loss`.

    Args:
        usae: the model, in training mode.
        batch: {backbone: standardized tokens (tokens, width)}.
        encoding: the backbones that encode; with the encoding `share` each takes its share of the tokens in turn.
        recipe: which terms there are.
        dead: (backbones, n_concepts) bool, what is to be revived.
    """
    total, fired = torch.zeros(()), torch.zeros_like(dead)
    n_tokens, mean_width = len(next(iter(batch.values()))), sum(usae.widths.values()) / len(usae.widths)
    shared = recipe.encoding == "share"  # then dead concepts have one error over all shares of the tokens
    for number, source in enumerate(encoding):
        if number == 0 or not shared:
            revived_in, residual_in = (
                {name: torch.zeros_like(tokens_there) for name, tokens_there in batch.items()} for _ in range(2)
            )
        rows = torch.arange(n_tokens)[number :: len(encoding)] if shared else torch.arange(n_tokens)
        own_dead = dead[usae.names.index(source)].nonzero().squeeze(1)
        pre_codes = usae.encoder(source)(batch[source][rows])
        codes = top_k(pre_codes, usae.k)
        fired[usae.names.index(source)] = (codes > 0).any(0)
        for target, every in batch.items():
            tokens, decoder = every[rows], usae.decoder(target)
            as_they_are = recipe.renormalize or not recipe.unit_norm
            atoms = decoder.weight if as_they_are else functional.normalize(decoder.weight, dim=-1)
            residual = tokens - codes @ atoms - decoder.offset
            share = len(rows) / n_tokens
            if recipe.standardization != "scalar":
                share *= usae.widths[target] / mean_width
            share_of_own = share * (recipe.own_weight if target == source else 1.0)
            total = total + share_of_own * (residual.abs() if recipe.loss == "absolute" else residual.square()).mean()
            nested = matryoshka_errors(codes, atoms, decoder.offset, tokens, recipe.matryoshka_fractions)
            total = total + share_of_own * nested
            if recipe.auxiliary == "left_out":
                left = residual - topk_complement(pre_codes, usae.k) @ atoms
                total = total + share * recipe.auxiliary_weight * left.abs().mean()
            elif len(own_dead) or (shared and dead.any()):
                revived = torch.zeros_like(pre_codes)
                revived[:, own_dead] = top_k(pre_codes[:, own_dead], usae.k)
                revived_in[target] = revived_in[target].index_copy(0, rows, revived @ atoms)
                residual_in[target] = residual_in[target].index_copy(0, rows, residual.detach())
        if not shared or source == encoding[-1]:
            for target, residual in residual_in.items():
                if residual.any():
                    error = (residual - revived_in[target]).square().mean() / residual.square().mean()
                    total = total + recipe.auxiliary_weight * error
    return total, fired


def _ranks_by_size(pre_codes: Tensor) -> Tensor:
    return pre_codes.argsort(-1, descending=True).argsort(-1)
