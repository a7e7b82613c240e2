"""The one training loop of the USAE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parametrize

from usae_train.model.sparsity.variants import trained_sparsity
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import StepCallback
from usae_train.runtime.transfers import read_numbers, to_device
from usae_train.tokens.feeding import Batches, Feed, MemoryFeed
from usae_train.tokens.rank_batches import RankBatches
from usae_train.tokens.shuffling import ShuffledFeed
from usae_train.tokens.standardization import (
    STANDARDIZATION_IMAGES,
    WHITENING,
    kept_rows,
    spreads_of,
    sums_of,
    without_outliers,
)
from usae_train.training.alignment import aligned_rows
from usae_train.training.checkpointing import TrainingCheckpointer, TrainingState
from usae_train.training.dictionaries.binding import bind_dictionaries, project, release
from usae_train.training.dictionaries.variants import read_dictionary
from usae_train.training.logging.step_metrics import LINES, Speed, is_sound, pair_figures, unsound_pairs
from usae_train.training.noise import NoiseSource
from usae_train.training.pairs import clip_pairs, learned_thresholds, pair_norms, pair_parameters
from usae_train.training.settings import FitSettings, TrainingRecipe
from usae_train.training.step import ERRORS, step_loss
from usae_train.training.sync_batch_norm import share_statistics
from usae_train.training.thresholds import follow_thresholds, set_thresholds, threshold_sample

# AdamW's first steps go by the sign of a gradient, and the rounding of a dense product turns the sign of the smallest:
# with these in float32 50 losses of `published` are within 7.6e-5 of overcomplete's, without them within 1.4e-4
# (tests/benchmarks/train_speed.py --losses).
EXACT_STEPS = 10
NORM_TOKENS = 4096  # from which the norm of backbones that stay as they are is taken
LOGGED_TOKENS = 512  # of a batch, for the figures of every pair: all encode them densely


def fit_tokens(
    tokens: Mapping[str, Tensor] | Feed,
    settings: FitSettings,
    usae: USAE | None = None,
    device: torch.device | str = "cpu",
    progress: StepCallback = lambda step, figures: None,
    keeper: TrainingCheckpointer | None = None,
    log_every: int | None = None,
    ranks: DistributedContext = SINGLE_PROCESS,
    frozen: Sequence[str] = (),
    fresh: bool = True,
) -> USAE:
    """Train a USAE on paired tokens.

    Args:
        tokens: {backbone: (n, width)}, row n the same patch of the same image in all; or a feed of such tokens.
        settings: size, length and recipe.
        usae: the model to train; a new one unless given.
        device: where to train.
        progress: called with the step and its figures: loss, dead ({backbone: share of the concepts that have not
            fired for long through its encoder}), learning_rate, tokens_per_second, gb_read, and {from: {to: ...}}
            pair_loss and r2, the latter around each feature's mean.
        keeper: writes training states, and resumes from the last.
        log_every: steps between two calls of `progress`; a hundredth of the training by default.
        ranks: the processes that train as one; each is given the same tokens and takes its part of every batch.
        frozen: backbones of `usae` that stay as they are, to the bit; the others learn to share their concept space.
        fresh: set where training starts: standardization, offsets, rows, encoders and thresholds; otherwise all of it
            goes on from where `usae` has it, whose dictionaries are `free` then.

    Raises:
        ValueError: for tokens of different lengths, of another shape, or not finite; or a loss that stops being finite.
    """
    feed: Feed = MemoryFeed(tokens) if isinstance(tokens, Mapping) else tokens
    if settings.recipe.shuffled:
        feed = ShuffledFeed(feed, settings.seed)
    usae = (usae or new_usae(feed.widths, settings)).to(device)
    for name, parameter in usae.named_parameters():
        if not parameter.isfinite().all():
            raise UsageError(f"{name} of the USAE has numbers that are NaN or infinite; expected a USAE that is whole")
    generator = torch.Generator().manual_seed(settings.seed)
    rows = standardization_rows(len(feed), usae.grid, generator)
    trained = [name for name in feed.widths if name not in frozen]
    set_trained(usae, trained)
    thresholds = standardize_from(usae, feed, rows, trained if fresh else [], settings)
    sample = threshold_sample(usae, feed, rows, trained, thresholds)
    if fresh:
        initialize(usae, feed, settings.recipe, settings.init_seed, frozen, thresholds)
        set_thresholds(usae, sample, finished=False)
    optimizers = {name: new_optimizer(usae, name, settings.recipe) for name in trained}
    last_fired = torch.zeros(len(usae.names), usae.n_concepts, dtype=torch.long, device=device)
    share_statistics(usae, ranks)
    batches = (
        Batches(feed, settings.batch, generator)
        if ranks.world_size == 1
        else RankBatches(feed, settings.batch, generator, ranks)
    )
    state = TrainingState(settings, usae, optimizers, batches, generator, last_fired)
    first = 0 if keeper is None else keeper.restore(state, ranks)
    noises = NoiseSource(settings.recipe.noise, settings.batch, [*usae.widths.values()], settings.seed, device)
    log_every, speed = log_every or max(1, settings.steps // LINES), Speed()
    dead = first - last_fired > settings.recipe.dead_after
    n_dead = dead.sum(1).tolist()

    for step in range(first, settings.steps):
        shown = batches.next()
        kept, count = kept_rows(shown, thresholds)
        if thresholds:  # one rank's part of the batch may have more outliers than another's
            ranks = ranks.weighted_by(count)
            share_statistics(usae, ranks)
        places = batches.places[kept]
        batch = {n: usae.standardize(n, to_device(t[kept], device).float()) for n, t in shown.items()}
        drawn = usae.names[int(torch.randint(len(usae.names), (1,), generator=generator))]
        encoding = encoding_backbones(settings.recipe, usae.names, drawn)
        stepping = stepping_pairs(settings.recipe, usae.names, drawn, frozen)
        with parametrize.cached():  # rows that are made of others are made once a step
            loss, fired = step_loss(
                usae,
                batch,
                encoding,
                settings.recipe,
                dead,
                places,
                ranks,
                stepping,
                exact=step < EXACT_STEPS,
                noise=noises.draw(generator),
                fractions=fractions_of(settings.recipe, generator),
                n_dead=n_dead,
            )
        usae.zero_grad()
        (loss * ranks.weight).backward()
        for name in stepping:
            ranks.average_gradients(pair_parameters(usae, name, settings.recipe))
        norms = pair_norms(usae, stepping, settings.recipe)
        last_fired.masked_fill_(ranks.any(fired & (ranks.weight > 0)), step)
        unused, dead = dead, step + 1 - last_fired > settings.recipe.dead_after
        # all that a step has to know of what it computed, for a GPU is waited for here
        (whole_loss,), found, n_dead = read_numbers(ranks.mean(loss.detach()), norms, dead.sum(1))
        logged = step % log_every == 0 or step == settings.steps - 1
        sound = is_sound(whole_loss)
        # spread over the batch: a rank's part of it is in the order of rows, and the first would be always the same
        spaced = max(1, -(-len(places) // LOGGED_TOKENS)) if sound else 1
        some = {name: own[::spaced] for name, own in batch.items()}
        pairs = pair_figures(usae, some, ERRORS[settings.recipe.loss], ranks) if logged or not sound else {}
        if not sound:
            if broken := backbones_of_broken_tokens(batch, ranks):
                what = f"{', '.join(broken)}: some tokens of step {step} are NaN or infinite"
                raise_on_all(ranks, keeper, what, "check the backbone's weights")
            where = unsound_pairs(pairs["pair_loss"])
            raise_on_all(ranks, keeper, f"the loss is {whole_loss} at step {step}{where and f' ({where})'}")
        rate = learning_rate(step, settings)
        if wrong := clip_pairs(usae, stepping, settings.recipe, optimizers, norms, found):
            raise_on_all(ranks, keeper, f"the gradient of {', '.join(wrong)} is not finite at step {step}")
        for name in stepping:
            for group in optimizers[name].param_groups:
                group["lr"] = rate * group["times"]
            optimizers[name].step()
            project(usae.decoder(name), settings.recipe.renormalize)
        follow_thresholds(usae, batch, stepping, ranks)
        speed.add(settings.batch)
        if logged:
            shares = dict(zip(usae.names, unused.float().mean(1).tolist(), strict=True))
            figures = {"loss": whole_loss, "dead": shares, "learning_rate": rate}
            read = {"tokens_per_second": speed.take(), "gb_read": batches.bytes_read / 1e9}
            progress(step + 1, {**figures, **read, **pairs})
        if keeper is not None:
            keeper.after(step + 1, state, ranks)
    for name in trained:
        release(usae.decoder(name))
    set_thresholds(usae, sample, finished=True)
    return usae.eval().requires_grad_(False)


def backbones_of_broken_tokens(batch: Mapping[str, Tensor], ranks: DistributedContext) -> list[str]:
    """The backbones that have a token of the batch, on any rank, that is not finite."""
    own = [name for name, tokens in batch.items() if not tokens.isfinite().all()]
    return sorted({name for names in ranks.gather(own) for name in names})


def raise_on_all(
    ranks: DistributedContext,
    keeper: TrainingCheckpointer | None,
    what: str,
    advice: str = "lower the recipe's learning_rate",
) -> NoReturn:
    """End a training that went wrong, before its step is taken: the states that were written are from before."""
    kept = "" if keeper is None else keeper.last_good()
    with ranks.raise_together():
        raise UsageError(f"{what}; {advice}{kept}")
    raise AssertionError("together lets no error pass")


def standardization_rows(length: int, grid: tuple[int, int] | None, generator: torch.Generator) -> Tensor:
    """The tokens of 1000 random images, from which mean and std are taken; without a grid, 196,000 random tokens."""
    per_image = 1 if grid is None else grid[0] * grid[1]
    count = STANDARDIZATION_IMAGES if grid is not None else STANDARDIZATION_IMAGES * 196
    images = torch.randperm(length // per_image, generator=generator)[:count]
    return (images[:, None] * per_image + torch.arange(per_image)).flatten()


def standardize_from(
    usae: USAE, feed: Feed, rows: Tensor, trained: Sequence[str], settings: FitSettings
) -> dict[str, float]:
    """Set the trained backbones' standardization and note everyone's outliers; their thresholds when masked."""
    found, mask, kind = sums_of(feed, rows), settings.mask_outliers, settings.recipe.standardization
    for name, own in found.items():
        if not own.squares.isfinite().all():
            raise UsageError(f"{name}: some tokens are NaN or infinite; check the backbone's weights")
        outliers = own.outliers.model_copy(update={"masked": mask})
        if name in trained:
            usae.outliers[name] = outliers
            if kind == "scalar":
                usae.scale(name).set(*(own.without(outliers.threshold) if mask else own).mean_and_std)
    thresholds = {name: own.outliers.threshold for name, own in found.items()} if mask else {}
    if kind != "scalar" and trained:
        within = [found[name].within(most) for name, most in thresholds.items()]
        kept = rows[torch.stack(within).all(0)] if within else rows
        norm = common_norm(usae, feed, rows, trained)
        for name, spread in spreads_of(feed, kept if len(kept) else rows, trained).items():
            matrix = spread.whitening(norm, WHITENING if kind == "whitened" else 0.0)
            usae.scale(name).set_matrix(spread.mean, matrix)
    return thresholds


def common_norm(usae: USAE, feed: Feed, rows: Tensor, trained: Sequence[str]) -> float:
    """The root mean square norm that all backbones' standardized tokens get, so that one code suits them all.

    A concept's rows have, or where lengths are free start with, norm 1 in every backbone: tokens of one scalar std have
    norms that grow with the width, and the same code would be too small for a wide backbone and too large for a narrow
    one. Beside backbones that stay as they are, it is theirs.
    """
    known = [name for name in usae.names if name not in trained]
    if not known:
        return math.sqrt(sum(usae.widths.values()) / len(usae.widths))
    tokens = feed.pick(rows[:NORM_TOKENS])
    seen = [usae.standardize(name, tokens[name].to(usae.dictionary(name).device).float()) for name in known]
    squares = [(own - own.mean(0)).square().sum(-1).mean() for own in seen]
    return math.sqrt(torch.stack(squares).mean().item())


def new_usae(widths: Mapping[str, int], settings: FitSettings, **source: object) -> USAE:
    """A USAE of a fit's size with weights drawn from its seed; `source` goes to `USAE` (specs, grid)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return USAE(
            widths,
            settings.n_concepts,
            settings.k,
            batch_norm=settings.recipe.batch_norm,
            unit_norm=settings.recipe.unit_norm,
            recipe=settings.recipe.title,
            sparsity=trained_sparsity(settings.recipe.sparsity),
            **source,  # type: ignore[arg-type]
        )


def set_trained(usae: USAE, trained: Sequence[str]) -> None:
    """Make these backbones' pairs ready for training, and hold the others: no gradients, BatchNorm in evaluation."""
    for name in usae.names:
        for part in (usae.encoder(name), usae.decoder(name)):
            part.train(name in trained).requires_grad_(name in trained)
        if name in usae.thresholds:
            usae.thresholds[name].requires_grad_(name in trained and usae.sparsity.threshold_rate is not None)


def initialize(
    usae: USAE,
    feed: Feed,
    recipe: TrainingRecipe,
    init_seed: int,
    frozen: Sequence[str] = (),
    thresholds: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Set where training starts: offsets at the mean token, dictionary rows at tokens, encoders tied to them.

    With `dictionary_init="tokens"` row k is the same patch of the same image in every dictionary, so that a concept
    begins with one meaning for all of them (the ablation: tests/benchmarks/recipe_ablation.py). Which tokens is not the
    training's seed to say, so that two seeds come out alike. Beside frozen backbones, whose concepts have their
    meanings already, row k is the mean of the tokens at which theirs fire, whatever the recipe.
    """
    generator = torch.Generator().manual_seed(init_seed)
    chosen_tokens = feed.pick(torch.randint(len(feed), (usae.n_concepts,), generator=generator))
    sampled = feed.pick(torch.randint(len(feed), (min(len(feed), 20_000),), generator=generator))
    starts: dict[str, Tensor] = {}
    if thresholds:  # dictionary rows that start at outliers would be outliers' own
        sampled = without_outliers(sampled, thresholds)
        # the first ones, in an order drawn already: an outlier more or less moves the rows by one and changes few
        rows = torch.arange(usae.n_concepts) % len(next(iter(sampled.values())))
        chosen_tokens = {name: own[rows] for name, own in sampled.items()}
    with torch.no_grad():
        for name in (own for own in feed.widths if own not in frozen):
            dictionary, linear = usae.decoder(name), usae.encoder(name).linear
            device = dictionary.weight.device
            if recipe.offset:
                dictionary.offset.copy_(usae.standardize(name, sampled[name].to(device).float()).mean(0))
            if frozen:
                seen = usae.standardize(name, sampled[name].to(device).float()) - dictionary.offset
                rows = aligned_rows(usae, sampled, frozen, seen)
                fires = (rows != 0).any(-1, keepdim=True)
                dictionary.weight.copy_(torch.where(fires, functional.normalize(rows, dim=-1), dictionary.weight))
            elif recipe.dictionary_init == "tokens":
                chosen = usae.standardize(name, chosen_tokens[name].to(device).float()) - dictionary.offset
                dictionary.weight.copy_(functional.normalize(chosen, dim=-1))
            starts[name] = dictionary.atoms
        bind_dictionaries(usae, read_dictionary(recipe.dictionary), starts, sampled)
        for name in starts:
            dictionary, linear = usae.decoder(name), usae.encoder(name).linear
            if recipe.tied:
                linear.weight.copy_(dictionary.atoms)
                linear.bias.copy_(-linear.weight @ dictionary.offset)


def fractions_of(recipe: TrainingRecipe, generator: torch.Generator) -> tuple[float, ...]:
    """The shares of the concepts that must do alone at a step: the recipe's, or as many between the least and all.

    Drawn evenly on a logarithmic scale, so that the first concepts have to do alone most often.
    """
    fixed = recipe.matryoshka_fractions
    if recipe.matryoshka == "fixed":
        return fixed
    drawn = torch.rand(len(fixed), generator=generator, dtype=torch.double).sort().values
    return tuple((fixed[0] ** (1 - drawn)).tolist())


def encoding_backbones(recipe: TrainingRecipe, names: Sequence[str], drawn: str) -> list[str]:
    """The backbones that encode at a step: all, or (published) only the one that was drawn."""
    return [drawn] if recipe.encoding == "one" else list(names)


def stepping_pairs(recipe: TrainingRecipe, names: Sequence[str], drawn: str, frozen: Sequence[str] = ()) -> list[str]:
    """Which encoder-dictionary pairs a step may change: those that encode, and never a frozen one.

    When a frozen one was drawn, the others learn to decode it.
    """
    chosen = names if drawn in frozen else encoding_backbones(recipe, names, drawn)
    return [name for name in chosen if name not in frozen]


def learning_rate(step: int, settings: FitSettings) -> float:
    """Linear warm-up, then cosine from the recipe's learning rate to its final one."""
    recipe, warm_up = settings.recipe, settings.recipe.warm_up * settings.steps
    if step < warm_up:
        return recipe.learning_rate * min(1.0, (step + 1) / warm_up)
    passed = (step - warm_up) / max(1.0, settings.steps - warm_up)
    swing = recipe.learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + swing * 0.5 * (1 + math.cos(math.pi * passed))


def new_optimizer(usae: USAE, name: str, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """AdamW over what training may change of a pair, fused; `clip_pairs` relies on that."""
    thresholds = learned_thresholds(usae, name)
    weights = pair_parameters(usae, name, recipe)[: -1 if thresholds else None]
    groups: list[dict[str, Any]] = [{"params": weights, "times": 1.0}]
    if thresholds:  # their decay is what brings back a concept that its threshold silenced
        groups += [{"params": thresholds, "times": usae.sparsity.threshold_rate}]
    # fused: 5 ms for 6144 x 768 twice, where the plain one takes 53 (one core of an EPYC)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
