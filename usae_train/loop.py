"""The one training loop of the USAE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.distributed import ALONE, Ranks
from usae_train.feeding import Batches, Feed, MemoryFeed
from usae_train.figures import LINES, Speed, is_sound, pair_figures, unsound_pairs
from usae_train.keeping import Keeper, TrainingState
from usae_train.losses import r2
from usae_train.rank_batches import RankBatches
from usae_train.settings import FitSettings, Recipe
from usae_train.step import ERRORS, step_loss
from usae_train.usae import USAE

Progress = Callable[[int, dict[str, Any]], None]  # step, figures
STANDARDIZATION_IMAGES = 1000  # as the authors' code
LOGGED_TOKENS = 512  # of a batch, for the figures of every pair: all encode them densely


def fit_tokens(
    tokens: Mapping[str, Tensor] | Feed, settings: FitSettings, usae: USAE | None = None,
    device: torch.device | str = "cpu", progress: Progress = lambda step, figures: None,
    keeper: Keeper | None = None, log_every: int | None = None, ranks: Ranks = ALONE,
) -> USAE:  # fmt: skip
    """Train a USAE on paired tokens.

    Args:
        tokens: {backbone: (n, width)}, row n the same patch of the same image in all; or a feed of such tokens.
        settings: size, length and recipe.
        usae: the model to train; a new one unless given.
        device: where to train.
        progress: called with the step and its figures: loss, dead (their share of the concepts), learning_rate,
            tokens_per_second, gb_read, and {from: {to: ...}} pair_loss and r2.
        keeper: writes training states, and goes on from the last.
        log_every: steps between two calls of `progress`; a hundredth of the training unless told.
        ranks: the processes that train as one; each is given the same tokens and takes its part of every batch.

    Raises:
        ValueError: for tokens of different lengths, of another shape, or not finite; or a loss that stops being finite.
    """
    feed = MemoryFeed(tokens) if isinstance(tokens, Mapping) else tokens
    usae = (usae or new_usae(feed.widths, settings)).to(device)
    generator = torch.Generator().manual_seed(settings.seed)
    rows = standardization_rows(len(feed), usae.grid, generator)
    for name, own in feed.pick(rows).items():
        usae.scale(name).measure(own)
    initialize(usae, feed, settings.recipe, generator)
    optimizers = {name: _optimizer(usae, name, settings.recipe) for name in feed.widths}
    last_fired = torch.zeros(usae.n_concepts, dtype=torch.long, device=device)
    ranks.share_statistics(usae)
    batches = (
        Batches(feed, settings.batch, generator)
        if ranks.count == 1
        else RankBatches(feed, settings.batch, generator, ranks)
    )
    state = TrainingState(settings, usae, optimizers, batches, generator, last_fired)
    first = 0 if keeper is None else keeper.restore(state, ranks)
    log_every, speed = log_every or max(1, settings.steps // LINES), Speed()

    usae.train()
    for step in range(first, settings.steps):
        batch = {n: usae.standardize(n, t.to(device, torch.float32)) for n, t in batches.next().items()}
        drawn = usae.names[int(torch.randint(len(usae.names), (1,), generator=generator))]
        encoding = stepping_pairs(settings.recipe, usae.names, drawn)
        dead = (step - last_fired > settings.recipe.dead_after).nonzero().squeeze(1)
        loss, fired = step_loss(usae, batch, encoding, settings.recipe, dead, batches.places.to(device), ranks)
        whole_loss = ranks.mean(loss.detach()).item()
        logged = step % log_every == 0 or step == settings.steps - 1
        sound = is_sound(whole_loss)
        some = {name: own[:LOGGED_TOKENS] for name, own in batch.items()} if sound else batch
        pairs = pair_figures(usae, some, ERRORS[settings.recipe.loss], ranks) if logged or not sound else {}
        if not sound:
            where = unsound_pairs(pairs["pair_loss"])
            raise_on_all(ranks, keeper, f"the loss is {whole_loss} at step {step}{where and f' ({where})'}")
        last_fired[ranks.any(fired)] = step
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        rate = learning_rate(step, settings)
        for name in encoding:
            ranks.average_gradients(pair_parameters(usae, name, settings.recipe))
        if wrong := clip_pairs(usae, encoding, settings.recipe):
            raise_on_all(ranks, keeper, f"the gradient of {', '.join(wrong)} is not finite at step {step}")
        for name in encoding:
            optimizers[name].param_groups[0]["lr"] = rate
            optimizers[name].step()
            if settings.recipe.projected:
                usae.decoder(name).project()
        speed.add(settings.batch)
        if logged:
            figures = {"loss": whole_loss, "dead": len(dead) / usae.n_concepts, "learning_rate": rate}
            read = {"tokens_per_second": speed.take(), "gb_read": batches.bytes_read / 1e9}
            progress(step + 1, {**figures, **read, **pairs})
        if keeper is not None:
            keeper.after(step + 1, state, ranks)
    return usae.eval().requires_grad_(False)


def raise_on_all(ranks: Ranks, keeper: Keeper | None, what: str) -> NoReturn:
    """End a training that went wrong, before its step is taken: the states that were written are from before."""
    kept = "" if keeper is None else keeper.last_good()
    with ranks.together():
        raise ValueError(f"{what}; lower the recipe's learning_rate{kept}")
    raise AssertionError("together lets no error pass")


def standardization_rows(length: int, grid: tuple[int, int] | None, generator: torch.Generator) -> Tensor:
    """The tokens of 1000 random images, from which mean and std are taken; without a grid, 196,000 random tokens."""
    per_image = 1 if grid is None else grid[0] * grid[1]
    count = STANDARDIZATION_IMAGES if grid is not None else STANDARDIZATION_IMAGES * 196
    images = torch.randperm(length // per_image, generator=generator)[:count]
    return (images[:, None] * per_image + torch.arange(per_image)).flatten()


def new_usae(widths: Mapping[str, int], settings: FitSettings, **source: object) -> USAE:
    """A USAE of a fit's size with weights drawn from its seed; `source` goes to `USAE` (specs, grid)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return USAE(
            widths, settings.n_concepts, settings.k, batch_norm=settings.recipe.batch_norm,
            recipe=settings.recipe.name, **source,  # type: ignore[arg-type]
        )  # fmt: skip


def initialize(usae: USAE, feed: Feed, recipe: Recipe, generator: torch.Generator) -> None:
    """Set where training starts: offsets at the mean token, dictionary rows at tokens, encoders tied to them.

    With `start="tokens"` row k is the same patch of the same image in every dictionary, so that a concept begins with
    one meaning for all of them (the ablation: tests/benchmarks/recipe_ablation.py).
    """
    chosen_tokens = feed.pick(torch.randint(len(feed), (usae.n_concepts,), generator=generator))
    sampled = feed.pick(torch.randint(len(feed), (min(len(feed), 20_000),), generator=generator))
    with torch.no_grad():
        for name in feed.widths:
            dictionary, linear = usae.decoder(name), usae.encoder(name).linear
            device = dictionary.weight.device
            if recipe.offset:
                dictionary.offset.copy_(usae.standardize(name, sampled[name].to(device).float()).mean(0))
            if recipe.start == "tokens":
                chosen = usae.standardize(name, chosen_tokens[name].to(device).float()) - dictionary.offset
                dictionary.weight.copy_(functional.normalize(chosen, dim=-1))
            if recipe.tied:
                linear.weight.copy_(dictionary.atoms)
                linear.bias.copy_(-linear.weight @ dictionary.offset)


def stepping_pairs(recipe: Recipe, names: Sequence[str], drawn: str) -> list[str]:
    """The pairs that encode at a step, and that it may change: all, or (published) only the one that was drawn."""
    return [drawn] if recipe.encoding == "one" else list(names)


def clip_pairs(usae: USAE, names: Sequence[str], recipe: Recipe) -> list[str]:
    """Scale each pair's gradients down to a norm of `recipe.clip`; a gradient that is shorter is not touched.

    Returns:
        The backbones whose gradient is not finite; with one of them a step would ruin the weights.
    """
    gradients = {
        name: [p.grad for p in pair_parameters(usae, name, recipe) if p.grad is not None] for name in names
    }  # fmt: skip
    norms = torch.stack([nn.utils.get_total_norm(own) for own in gradients.values()]).tolist()
    for own, norm in zip(gradients.values(), norms, strict=True):
        if norm > recipe.clip:
            torch._foreach_mul_(own, recipe.clip / (norm + 1e-6))  # as torch's clip_grad_norm_
    return [name for name, norm in zip(names, norms, strict=True) if not math.isfinite(norm)]


def pair_parameters(usae: USAE, name: str, recipe: Recipe) -> list[nn.Parameter]:
    """A pair's parameters that training may change; the published recipe has no offset."""
    dictionary = usae.decoder(name)
    offset = [dictionary.offset] if recipe.offset else []
    return [*usae.encoder(name).parameters(), dictionary.weight, *offset]


def learning_rate(step: int, settings: FitSettings) -> float:
    """Linear warm-up, then cosine from the recipe's learning rate to its final one."""
    recipe, warm_up = settings.recipe, settings.recipe.warm_up * settings.steps
    if step < warm_up:
        return recipe.learning_rate * min(1.0, (step + 1) / warm_up)
    passed = (step - warm_up) / max(1.0, settings.steps - warm_up)
    swing = recipe.learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + swing * 0.5 * (1 + math.cos(math.pi * passed))


@torch.no_grad()
def r2_matrix(usae: USAE, tokens: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """R² of every backbone's codes decoded by every dictionary, {from: {to: R²}}, on raw tokens (n, width)."""
    matrix: dict[str, dict[str, float]] = {}
    for source, own in tokens.items():
        codes = usae.encode(source, own.float())
        matrix[source] = {target: r2(t.float(), usae.decode(target, codes)).item() for target, t in tokens.items()}
    return matrix


def _optimizer(usae: USAE, name: str, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = pair_parameters(usae, name, recipe)
    # fused: 5 ms for 6144 x 768 twice, where the plain one takes 53 (one core of an EPYC)
    return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
