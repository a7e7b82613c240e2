"""The loss of one training step, from standardized tokens; what it touches is entries, not tokens x concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.model.sparse import GROUPS, top_indices
from usae_train.model.usae import USAE, Encoder
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.transfers import to_device
from usae_train.training.kernels.matryoshka import matryoshka_loss
from usae_train.training.kernels.products import product_dtype, products
from usae_train.training.kernels.sparse_ops import Entries, chosen_products, decode_entries, entries_of
from usae_train.training.kernels.topk_complement import kept_and_left_out
from usae_train.training.losses import absolute_error, dead_error, squared_error
from usae_train.training.noise import Noise
from usae_train.training.settings import TrainingRecipe

ERRORS = {"absolute": absolute_error, "squared": squared_error}
# Groups of concepts where 6 does not divide their number: of 512 and k = 12 the largest of 683 tokens are found in
# 1.3 ms and not in 2.8 (one core of a Xeon), three times a step of 49.
OTHER_GROUPS = (4,)


class Active(NamedTuple):
    """What a pass decodes: some tokens' active concepts, and what the auxiliary term needs besides.

    Attributes:
        values: (tokens, k + revived), >= 0.
        concepts: (tokens, k + revived), the first k ascending; the others are dead ones for the auxiliary term.
            A token whose encoder has fewer dead ones than another's is filled up with values of 0.
        left_out: (tokens, n_concepts) codes that TopK left out, for the published auxiliary term alone.
    """

    values: Tensor
    concepts: Tensor
    topk_complement: Tensor | None = None


def step_loss(
    usae: USAE,
    batch: Mapping[str, Tensor],
    encoding: Sequence[str],
    recipe: TrainingRecipe,
    dead: Tensor,
    places: Tensor | None = None,
    ranks: DistributedContext = SINGLE_PROCESS,
    stepping: Sequence[str] | None = None,
    exact: bool = False,
    noise: Noise | None = None,
    n_dead: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss of one step and the concepts that fired in it, through which backbone's encoder.

    Args:
        usae: the model, in training mode.
        batch: {backbone: standardized tokens (tokens, width)}.
        encoding: the backbones that encode; each is decoded by all.
        recipe: which terms there are.
        dead: (backbones, n_concepts) bool, in the USAE's order: what has not fired for long through a backbone's
            encoder, and is to be revived there; only in backbones that the step may change.
        places: (tokens,) which of the whole batch's tokens these are, in the processor's memory; the first ones by
            default.
        ranks: who has the other parts of the batch.
        stepping: the backbones that the step may change; those that encode by default. The codes of others are
            decoded to these alone: what the others make of each other moves nothing.
        exact: every dense product that a gradient passes through in float32, the gradient's as well.
        noise: what the encoders that the step may change see besides; what is to be decoded stays as it is.
        n_dead: (backbones,) how many are dead in each, where that is known; a GPU has to be waited for to count them.

    Returns:
        The loss, a scalar, and (backbones, n_concepts) bool; of backbones that do not encode nothing fires.
    """
    total = torch.zeros((), device=dead.device)
    fired = torch.zeros_like(dead)
    if places is None:
        places = torch.arange(len(next(iter(batch.values()))))
    stepping = encoding if stepping is None else stepping
    revivable = stepping if recipe.auxiliary == "dead" else []
    own_dead = dead_concepts(usae.names, revivable, dead, n_dead)
    for active, wanted in encode_batch(usae, batch, encoding, recipe, own_dead, places, stepping, exact, fired, noise):
        total = total + pass_loss(usae, wanted, active, stepping, recipe, ranks, exact)
    return total, fired


def dead_concepts(
    names: Sequence[str], revivable: Sequence[str], dead: Tensor, n_dead: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """{backbone: (dead,) concepts to be revived there}, ascending; see `step_loss`."""
    if n_dead is None:
        n_dead = dead.sum(1).tolist() if revivable else [0] * len(names)
    found = {}
    for row, name in enumerate(names):
        count = int(n_dead[row]) if name in revivable else 0
        # what nonzero says, whose length would have to be waited for
        first = (~dead[row]).byte().sort(stable=True).indices if count else torch.arange(0, device=dead.device)
        found[name] = first[:count]
    return found


def encode_batch(
    usae: USAE,
    batch: Mapping[str, Tensor],
    encoding: Sequence[str],
    recipe: TrainingRecipe,
    dead: Mapping[str, Tensor],
    places: Tensor,
    stepping: Sequence[str],
    exact: bool,
    fired: Tensor,
    noise: Noise | None = None,
) -> list[tuple[Active, Mapping[str, Tensor]]]:
    """The batch encoded, and what to decode to: once by each that encodes, or (`share`) each token by one, in turn.

    What fires is noted in `fired` (backbones, n_concepts).
    """
    learning, device = {name: tokens for name, tokens in batch.items() if name in stepping}, fired.device

    def encode(source: str, tokens: Tensor, places: Tensor, sharing: int = 1) -> Active:
        row = usae.names.index(source)
        if noise is not None and source in stepping:
            places = to_device(places, device)
            tokens = noise.onto(tokens, places, row, error_weight(usae, source, recipe) ** -0.5, sharing)
        if recipe.batch_norm or recipe.auxiliary == "left_out":
            active = dense_active(usae.encoder(source), tokens, usae.k, recipe, dead[source], exact)
        else:
            active = sparse_active(usae.encoder(source), tokens, usae.k, dead[source], groups_of(usae))
        concepts, values = (own[:, : usae.k].detach().flatten() for own in (active.concepts, active.values))
        fired[row] = values.new_zeros(usae.n_concepts).scatter_add_(0, concepts, values) > 0
        return active

    if recipe.encoding != "share":
        return [(encode(name, batch[name], places), batch if name in stepping else learning) for name in encoding]
    rows = {name: (places % len(encoding) == number).nonzero().squeeze(1) for number, name in enumerate(encoding)}
    found: list[tuple[Active, Mapping[str, Tensor]]] = []
    for together, targets in (
        ([name for name in encoding if name in stepping], batch),
        ([name for name in encoding if name not in stepping], learning),
    ):
        if sum(len(rows[name]) for name in together):
            own = torch.cat([rows[name] for name in together])
            shares = [
                encode(name, batch[name][to_device(rows[name], device)], places[rows[name]], len(encoding))
                for name in together
            ]
            if len(together) < len(encoding):
                kept = to_device(own.sort().values, device)
                targets = {name: tokens[kept] for name, tokens in targets.items()}
            found.append((joined(shares, to_device(own.argsort(), device)), targets))
    return found


def joined(shares: Sequence[Active], order: Tensor) -> Active:
    """Several encoders' shares of the tokens as one, in the tokens' order."""
    topk_complement = [share.topk_complement for share in shares if share.topk_complement is not None]
    widest = max(share.values.shape[1] for share in shares)
    values, concepts = (
        torch.cat([functional.pad(own, (0, widest - own.shape[1])) for own in every])[order]
        for every in ([share.values for share in shares], [share.concepts for share in shares])
    )
    return Active(values, concepts, torch.cat(topk_complement)[order] if topk_complement else None)


def sparse_active(encoder: Encoder, tokens: Tensor, k: int, dead: Tensor, sizes: Sequence[int]) -> Active:
    """Active concepts of an encoder without BatchNorm: a fast product chooses them, and they alone are computed.

    Args:
        encoder: Linear alone.
        tokens: (tokens, width), standardized.
        k: concepts kept a token.
        dead: (dead,) concepts of which k at most are added, the largest; may be empty.
        sizes: see `top_indices`.
    """
    weight, bias = encoder.linear.weight, encoder.linear.bias
    with torch.no_grad():
        dtype = product_dtype(tokens.device)
        pre_codes = torch.addmm(bias.to(dtype), tokens.to(dtype), weight.to(dtype).T)
        concepts = pick(pre_codes, k, dead, sizes)
        segments = torch.arange(len(tokens), device=tokens.device).repeat_interleave(concepts.shape[1])
        entries = entries_of(concepts.flatten(), segments, len(tokens), len(weight))
    values = chosen_products(tokens, weight, entries) + bias.index_select(0, entries.concepts)
    return Active(values.relu().view(concepts.shape), concepts)


def dense_active(
    encoder: Encoder, tokens: Tensor, k: int, recipe: TrainingRecipe, dead: Tensor, exact_gradients: bool
) -> Active:
    """Active concepts of an encoder whose pre-codes are all needed: for BatchNorm, or for what TopK leaves out."""
    # exact: rounded to bfloat16, pre-codes alone set the loss apart from the authors' by 1e-4
    pre_codes = products(tokens, encoder.linear.weight.T, exact=True, exact_gradients=exact_gradients)[0]
    pre_codes = pre_codes.add_(encoder.linear.bias)
    if encoder.norm is not None:
        pre_codes = encoder.norm(pre_codes)
    with torch.no_grad():
        concepts = pick(pre_codes, k, dead)
    if recipe.auxiliary == "left_out":
        values, topk_complement = kept_and_left_out(pre_codes, concepts)
        return Active(values, concepts, topk_complement)
    return Active(pre_codes.gather(1, concepts).relu(), concepts)


def groups_of(usae: USAE) -> Sequence[int]:
    """The groups that the largest pre-codes are looked for in.

    Of concepts of length 1 they are what they always were: ties would fall otherwise, and trainings of before are kept
    to the bit.
    """
    return GROUPS if usae.unit_norm or usae.n_concepts % GROUPS[0] == 0 else OTHER_GROUPS


def pick(pre_codes: Tensor, k: int, dead: Tensor, sizes: Sequence[int] = GROUPS) -> Tensor:
    """(tokens, k + revived): the k largest of each token, ascending, then the largest of the dead, k at most.

    `sizes`: see `top_indices`.
    """
    concepts = top_indices(pre_codes, k, sizes).sort(-1).values
    if len(dead) == 0:
        return concepts
    return torch.cat([concepts, dead[pre_codes[:, dead].topk(min(k, len(dead)), dim=-1).indices]], 1)


def pass_loss(
    usae: USAE,
    batch: Mapping[str, Tensor],
    active: Active,
    stepping: Sequence[str],
    recipe: TrainingRecipe,
    ranks: DistributedContext = SINGLE_PROCESS,
    exact: bool = False,
) -> Tensor:
    """The error of all backbones' tokens, decoded from the same codes: all of them, and the nested parts alone.

    A part of the space that has to do without the rest keeps whole concepts, where a free one splits them (Bussmann et
    al. 2025, Matryoshka sparse autoencoders).
    """
    entries, n_parts = part_entries(active, usae.n_concepts, usae.k, recipe.matryoshka_fractions)
    values, total = active.values.flatten(), active.values.new_zeros(())
    revives = active.concepts.shape[1] > usae.k
    # what the step will not change needs no gradient (stepping_pairs)
    weights = {
        name: usae.decoder(name).weight if name in stepping else usae.decoder(name).weight.detach() for name in batch
    }
    divide = usae.unit_norm and not recipe.renormalize
    explained: dict[str, Tensor] = {}
    if active.topk_complement is not None:
        found = products(active.topk_complement, *weights.values(), exact=exact, exact_gradients=exact)
        explained = dict(zip(weights, found, strict=True))
    for name, tokens in batch.items():
        weight = error_weight(usae, name, recipe)
        learned = name in stepping and recipe.offset
        offset = usae.decoder(name).offset if learned else usae.decoder(name).offset.detach()
        parts = decode_entries(values, weights[name], entries, divide).view(len(tokens), n_parts, -1)
        if name in explained:
            left = tokens - parts.sum(1) - offset
            total = total + weight * recipe.auxiliary_weight * absolute_error(left, explained[name])
        living = parts[:, : n_parts - 1] if revives else parts
        total = total + weight * matryoshka_loss(living, offset, tokens, recipe.loss == "squared")
        if revives:
            residual = -living[:, -1].detach()  # part_errors has left it there
            total = total + recipe.auxiliary_weight * dead_error(residual, parts[:, -1], ranks.mean)
    return total


def error_weight(usae: USAE, name: str, recipe: TrainingRecipe) -> float:
    """What makes a mean error over features one over the shares of a token, whatever the backbone's width.

    Tokens of one norm in all backbones have a mean square that is smaller in a wide one; each counts the same.
    """
    if recipe.standardization == "scalar":
        return 1.0
    return usae.widths[name] * len(usae.widths) / sum(usae.widths.values())


def part_entries(active: Active, n_concepts: int, k: int, nested: Sequence[float]) -> tuple[Entries, int]:
    """A pass's entries and how many bags a token has: one a part of the space, in order, and one for dead concepts.

    Args:
        active: the concepts.
        n_concepts: size of the space.
        k: concepts kept a token; any further ones are dead.
        nested: shares of the space that parts end at.
    """
    concepts = active.concepts
    parts = torch.zeros_like(concepts)
    for share in nested:
        parts += concepts >= round(share * n_concepts)
    parts[:, k:] = len(nested) + 1
    n_parts = len(nested) + 1 + (concepts.shape[1] > k)
    segments = torch.arange(len(concepts), device=concepts.device)[:, None] * n_parts + parts
    return entries_of(concepts.flatten(), segments.flatten(), len(concepts) * n_parts, n_concepts), n_parts
