"""The loss of one training step, from standardized tokens; it touches entries, not tokens x concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from usae_train.model.sparse import GROUPS
from usae_train.model.sparsity.variant import EntryIndices
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.transfers import to_device
from usae_train.training.kernels.matryoshka import matryoshka_loss
from usae_train.training.kernels.products import product_dtype, products
from usae_train.training.kernels.sparse_ops import (
    Entries,
    chosen_pre_codes,
    decode_entries,
    entries_of,
    nonzero_entries,
    stable_order,
)
from usae_train.training.kernels.topk_complement import split_at_top_k
from usae_train.training.losses import absolute_error, dead_error, own_weights, squared_error
from usae_train.training.settings import TrainingRecipe
from usae_train.training.step_plan import StepPlan

ERRORS = {"absolute": absolute_error, "squared": squared_error}
# Groups of concepts where 6 does not divide their number: with 512 and k = 12 the largest of 683 tokens are found in
# 1.3 ms instead of 2.8 (one core of a Xeon), three times in a step of 49.
OTHER_GROUPS = (4,)


class ActiveEntries(NamedTuple):
    """What a pass decodes: the entries of tokens x concepts that are active, and what other terms need.

    Attributes:
        values: (entries,), >= 0.
        concepts: (entries,); those of a token ascending, then its dead ones for the auxiliary term.
        tokens: (entries,), ascending.
        n_tokens: how many there are, those without an entry included.
        revived: (entries,) bool, which are dead ones for the auxiliary term; None where none is.
        topk_complement: (tokens, n_concepts) codes that were left out, only for the published auxiliary term.
        penalty: what the sparsity adds to the loss, a scalar; None for nothing.
        sources: (tokens,), which backbone encoded each; None where all tokens count the same.
    """

    values: Tensor
    concepts: Tensor
    tokens: Tensor
    n_tokens: int
    revived: Tensor | None = None
    topk_complement: Tensor | None = None
    penalty: Tensor | None = None
    sources: Tensor | None = None


def step_loss(
    usae: USAE,
    batch: Mapping[str, Tensor],
    plan: StepPlan,
    dead: Tensor,
    places: Tensor | None = None,
    n_dead: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss of one step and the concepts that fired in it, through which backbone's encoder.

    Args:
        usae: the model, in training mode.
        batch: {backbone: standardized tokens (tokens, width)}.
        plan: who takes part, and which terms there are.
        dead: (backbones, n_concepts) bool, in the USAE's order: what has not fired for long through a backbone's
            encoder, and is to be revived there; only in backbones that the step may change.
        places: (tokens,) which of the whole batch's tokens these are, in the processor's memory; the first ones by
            default.
        n_dead: (backbones,) how many are dead in each, where that is known; counting them waits for a GPU.

    Returns:
        The loss, a scalar, and (backbones, n_concepts) bool; nothing fires in backbones that do not encode.
    """
    total = torch.zeros((), device=dead.device)
    fired = torch.zeros_like(dead)
    if places is None:
        places = torch.arange(len(next(iter(batch.values()))))
    own_dead = dead_concepts(usae.names, plan.stepping if plan.recipe.auxiliary == "dead" else [], dead, n_dead)
    for active, targets in encode_batch(usae, batch, plan, own_dead, places, fired):
        total = total + pass_loss(usae, targets, active, plan)
        if active.penalty is not None:
            total = total + active.penalty
    return total, fired


def dead_concepts(
    names: Sequence[str], revivable: Sequence[str], dead: Tensor, n_dead: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """{backbone: (dead,) concepts to be revived there}, ascending; see `step_loss`."""
    if n_dead is None:
        n_dead = dead.sum(1).tolist() if revivable else [0] * len(names)
    revivable_concepts = {}
    for row, name in enumerate(names):
        count = int(n_dead[row]) if name in revivable else 0
        # as nonzero, which would wait for a GPU to know the length
        first = (~dead[row]).byte().sort(stable=True).indices if count else torch.arange(0, device=dead.device)
        revivable_concepts[name] = first[:count]
    return revivable_concepts


def encode_batch(
    usae: USAE,
    batch: Mapping[str, Tensor],
    plan: StepPlan,
    dead: Mapping[str, Tensor],
    places: Tensor,
    fired: Tensor,
) -> list[tuple[ActiveEntries, Mapping[str, Tensor]]]:
    """The batch encoded, and what to decode to: once by each that encodes, or (`share`) each token by one, in turn.

    What fires is noted in `fired` (backbones, n_concepts).
    """
    recipe, encoding, stepping, device = plan.recipe, plan.encoding, plan.stepping, fired.device
    learning = {name: tokens for name, tokens in batch.items() if name in stepping}

    def encode(source: str, tokens: Tensor, places: Tensor, sharing: int = 1) -> ActiveEntries:
        row = usae.names.index(source)
        if plan.noise is not None and source in stepping:
            places = to_device(places, device)
            tokens = plan.noise.onto(tokens, places, row, error_weight(usae, source, recipe) ** -0.5, sharing)
        if recipe.batch_norm or recipe.auxiliary == "left_out":
            active = dense_active(usae, source, tokens, dead[source], plan)
        else:
            active = sparse_active(usae, source, tokens, dead[source], plan.ranks)
        values = active.values.detach()
        if active.revived is not None:
            values = values.masked_fill(active.revived, 0.0)
        fired[row] = values.new_zeros(usae.n_concepts).scatter_add_(0, active.concepts, values) > 0
        weighed = recipe.own_weight != 1
        return active._replace(sources=torch.full((len(tokens),), row, device=device) if weighed else None)

    if recipe.encoding != "share":
        return [(encode(name, batch[name], places), batch if name in stepping else learning) for name in encoding]
    rows = {name: (places % len(encoding) == number).nonzero().squeeze(1) for number, name in enumerate(encoding)}
    passes: list[tuple[ActiveEntries, Mapping[str, Tensor]]] = []
    for together, targets in (
        ([name for name in encoding if name in stepping], batch),
        ([name for name in encoding if name not in stepping], learning),
    ):
        if sum(len(rows[name]) for name in together):
            rows_of_all = torch.cat([rows[name] for name in together])
            shares = [
                encode(name, batch[name][to_device(rows[name], device)], places[rows[name]], len(encoding))
                for name in together
            ]
            if len(together) < len(encoding):
                rows_of_pass = to_device(rows_of_all.sort().values, device)
                targets = {name: tokens[rows_of_pass] for name, tokens in targets.items()}
            passes.append((joined_shares(shares, to_device(rows_of_all.argsort(), device)), targets))
    return passes


def joined_shares(shares: Sequence[ActiveEntries], order: Tensor) -> ActiveEntries:
    """Several encoders' shares of the tokens as one, in the tokens' order.

    Args:
        shares: each with some of the tokens, which they count from 0.
        order: (tokens,) what sorts the tokens of all shares, one after another.
    """
    places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    counts = [share.n_tokens for share in shares]
    firsts = [sum(counts[:number]) for number in range(len(counts))]
    tokens = torch.cat([places[share.tokens + first] for share, first in zip(shares, firsts, strict=True)])
    by_token = stable_order(tokens, len(order))

    def together(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([*parts]).index_select(0, by_token)

    complements = [share.topk_complement for share in shares if share.topk_complement is not None]
    sources = [share.sources for share in shares if share.sources is not None]
    penalties = [share.penalty for share in shares if share.penalty is not None]
    revived = [share.revived for share in shares]
    if any(mask is not None for mask in revived):
        revived = [
            torch.zeros_like(share.tokens, dtype=torch.bool) if share.revived is None else share.revived
            for share in shares
        ]
    return ActiveEntries(
        together([share.values for share in shares]),
        together([share.concepts for share in shares]),
        tokens.index_select(0, by_token),
        len(order),
        together(revived) if revived[0] is not None else None,  # type: ignore[arg-type]
        torch.cat(complements)[order] if complements else None,
        torch.stack(penalties).sum() if penalties else None,
        torch.cat(sources)[order] if sources else None,
    )


def sparse_active(
    usae: USAE, source: str, tokens: Tensor, dead: Tensor, ranks: DistributedContext = SINGLE_PROCESS
) -> ActiveEntries:
    """Active concepts of an encoder without BatchNorm: only they have a gradient, of a fast product.

    Args:
        usae: the model.
        source: the backbone whose encoder it is, Linear alone.
        tokens: (tokens, width), standardized.
        dead: (dead,) concepts of which k at most are added to a token, the largest; may be empty.
        ranks: who has the other parts of the batch.
    """
    linear = usae.encoder(source).linear
    weight, bias = linear.weight, linear.bias
    with torch.no_grad():
        dtype = product_dtype(tokens.device)
        pre_codes = torch.addmm(bias.to(dtype), tokens.to(dtype), weight.to(dtype).T)
        chosen, revived = choose_entries(usae, source, pre_codes, dead, ranks)
        entries = entries_of(chosen.concepts, chosen.tokens, len(tokens), len(weight))
    values = chosen_pre_codes(pre_codes, tokens, weight, bias, entries, has_zeros(usae))
    return activate(usae, source, values, chosen, revived, len(tokens), ranks)


def dense_active(
    usae: USAE,
    source: str,
    tokens: Tensor,
    dead: Tensor,
    plan: StepPlan,
) -> ActiveEntries:
    """Active concepts of an encoder whose pre-codes are all needed: for BatchNorm, or for what is left out."""
    encoder = usae.encoder(source)
    # exact: rounded to bfloat16, pre-codes alone set the loss apart from the authors' by 1e-4
    pre_codes = products(tokens, encoder.linear.weight.T, exact=True, exact_gradients=plan.exact)[0]
    pre_codes = pre_codes.add_(encoder.linear.bias)
    if encoder.norm is not None:
        pre_codes = encoder.norm(pre_codes)
    with torch.no_grad():
        chosen, revived = choose_entries(usae, source, pre_codes.detach(), dead, plan.ranks, GROUPS)
        places = chosen.tokens * usae.n_concepts + chosen.concepts
    if plan.recipe.auxiliary != "left_out":
        values = pre_codes.view(-1).gather(0, places)
        return activate(usae, source, values, chosen, revived, len(tokens), plan.ranks)
    values, complement = split_at_top_k(pre_codes, places)
    active = activate(usae, source, values, chosen, revived, len(tokens), plan.ranks)
    return active._replace(topk_complement=complement)


def activate(
    usae: USAE,
    source: str,
    pre_codes: Tensor,
    chosen: EntryIndices,
    revived: Tensor | None,
    n_tokens: int,
    ranks: DistributedContext = SINGLE_PROCESS,
) -> ActiveEntries:
    """Pre-codes (entries,) of what was chosen, activated by the sparsity; dead ones by a ReLU."""
    threshold, sparsity = usae.threshold(source), usae.sparsity
    values = sparsity.activate(pre_codes, chosen.concepts, threshold)
    penalty = sparsity.penalty(pre_codes, chosen, revived, n_tokens, usae.k, threshold, ranks)
    if revived is not None:
        values = torch.where(revived, pre_codes.relu(), values)
    return ActiveEntries(values, chosen.concepts, chosen.tokens, n_tokens, revived, penalty=penalty)


def has_zeros(usae: USAE) -> bool:
    """Whether many entries are below their threshold, and serve only the threshold's gradient."""
    return usae.sparsity.threshold_rate is not None


def groups_of(usae: USAE) -> Sequence[int]:
    """The groups that the largest pre-codes are looked for in.

    For unit-norm dictionaries they never change: ties would be broken differently, and earlier trainings are
    reproduced to the bit.
    """
    return GROUPS if usae.unit_norm or usae.n_concepts % GROUPS[0] == 0 else OTHER_GROUPS


def choose_entries(
    usae: USAE,
    source: str,
    pre_codes: Tensor,
    dead: Tensor,
    ranks: DistributedContext = SINGLE_PROCESS,
    sizes: Sequence[int] | None = None,
) -> tuple[EntryIndices, Tensor | None]:
    """What a pass computes: what the sparsity chooses of (tokens, n_concepts), and of the dead the k largest at most.

    Returns:
        The entries, those chosen first in each token; and (entries,) bool, which are dead ones, or None.
    """
    sizes = groups_of(usae) if sizes is None else sizes
    chosen = usae.sparsity.choose(pre_codes, usae.k, usae.threshold(source), ranks, sizes)
    if len(dead) == 0:
        return chosen, None
    revived = dead[pre_codes[:, dead].topk(min(usae.k, len(dead)), dim=-1).indices]
    of_tokens = torch.arange(len(revived), device=dead.device).repeat_interleave(revived.shape[1])
    tokens = torch.cat([chosen.tokens, of_tokens])
    order = stable_order(tokens, len(pre_codes))
    concepts = torch.cat([chosen.concepts, revived.flatten()])[order]
    return EntryIndices(tokens[order], concepts), order >= len(chosen.tokens)


def pass_loss(
    usae: USAE,
    batch: Mapping[str, Tensor],
    active: ActiveEntries,
    plan: StepPlan,
) -> Tensor:
    """The error of all backbones' tokens, decoded from the same codes: all of them, and the nested parts alone.

    A part of the space that must explain tokens alone keeps whole concepts, which a free space splits (Bussmann et
    al. 2025, Matryoshka sparse autoencoders).
    """
    recipe, stepping, exact = plan.recipe, plan.stepping, plan.exact
    entries, n_parts = part_entries(active, usae.n_concepts, plan.fractions)
    values, total, revives = active.values, active.values.new_zeros(()), active.revived is not None
    firing = nonzero_entries(entries, values.detach()) if has_zeros(usae) else None
    # what the step does not change needs no gradient (stepping_pairs)
    weights = {
        name: usae.decoder(name).weight if name in stepping else usae.decoder(name).weight.detach() for name in batch
    }
    divide = usae.unit_norm and not recipe.renormalize
    explained: dict[str, Tensor] = {}
    if active.topk_complement is not None:
        decoded = products(active.topk_complement, *weights.values(), exact=exact, exact_gradients=exact)
        explained = dict(zip(weights, decoded, strict=True))
    for name, tokens in batch.items():
        weight = error_weight(usae, name, recipe)
        learned = name in stepping and recipe.offset
        offset = usae.decoder(name).offset if learned else usae.decoder(name).offset.detach()
        parts = decode_entries(values, weights[name], entries, divide, firing).view(len(tokens), n_parts, -1)
        if name in explained:
            left = tokens - parts.sum(1) - offset
            total = total + weight * recipe.auxiliary_weight * absolute_error(left, explained[name])
        living = parts[:, : n_parts - 1] if revives else parts
        token_weights = own_weights(active.sources, usae.names.index(name), recipe.own_weight)
        total = total + weight * matryoshka_loss(living, offset, tokens, recipe.loss == "squared", token_weights)
        if revives:
            residual = -living[:, -1].detach()  # matryoshka_loss has left it there
            total = total + recipe.auxiliary_weight * dead_error(residual, parts[:, -1], plan.ranks.mean)
    return total


def error_weight(usae: USAE, name: str, recipe: TrainingRecipe) -> float:
    """The weight that makes a backbone's mean error over features independent of its width.

    With one norm for all backbones, a wide one's tokens have a smaller mean square.
    """
    if recipe.standardization == "scalar":
        return 1.0
    return usae.widths[name] * len(usae.widths) / sum(usae.widths.values())


def part_entries(active: ActiveEntries, n_concepts: int, fractions: Sequence[float]) -> tuple[Entries, int]:
    """A pass's entries and how many segments a token has: one per part of the space, and one for dead ones.

    Args:
        active: the concepts.
        n_concepts: size of the space.
        fractions: rising shares of the space that parts end at.
    """
    parts = torch.zeros_like(active.concepts)
    for share in fractions:
        parts += active.concepts >= round(share * n_concepts)
    if active.revived is not None:
        parts.masked_fill_(active.revived, len(fractions) + 1)
    n_parts = len(fractions) + 1 + (active.revived is not None)
    segments = active.tokens * n_parts + parts
    return entries_of(active.concepts, segments, active.n_tokens * n_parts, n_concepts), n_parts
