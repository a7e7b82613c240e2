"""The one training loop of the USAE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from usae_train.model.private import PrivateConcepts, close_foreign, leave_out_gradients, private_ranges
from usae_train.model.sparsity.splittopk import SplitTopK
from usae_train.model.sparsity.variant import Sparsity
from usae_train.model.sparsity.variants import trained_sparsity
from usae_train.model.usae import USAE
from usae_train.runtime.allocator import keep_memory
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import StepCallback
from usae_train.runtime.transfers import read_numbers, to_device
from usae_train.tokens.feeding import Batches, Feed, MemoryFeed
from usae_train.tokens.rank_batches import RankBatches
from usae_train.tokens.shuffling import ShuffledFeed
from usae_train.tokens.standardization import rows_without_outliers
from usae_train.training.checkpointing import TrainingCheckpointer, TrainingState
from usae_train.training.dictionaries.binding import project, release
from usae_train.training.gradient_clipping import clip_gradients, gradient_norms, learned_thresholds, trained_parameters
from usae_train.training.initialization import prepare
from usae_train.training.logging.step_metrics import DEFAULT_LOG_COUNT, Speed, is_sound, pair_metrics, unsound_pairs
from usae_train.training.noise import NoiseSource
from usae_train.training.settings import FitSettings, TrainingRecipe
from usae_train.training.standardized_window import StandardizedWindow, pays_to_standardize_once, standardized
from usae_train.training.step import ERRORS, step_loss
from usae_train.training.step_plan import StepPlan
from usae_train.training.sync_batch_norm import share_statistics
from usae_train.training.thresholds import follow_thresholds, set_thresholds

# AdamW's first steps follow the sign of a gradient, and rounding in a dense product flips the sign of the smallest:
# with these in float32 50 losses of `published` are within 7.6e-5 of overcomplete's, without them within 1.4e-4
# (tests/benchmarks/train_speed.py --losses).
EXACT_STEPS = 10
LOGGED_TOKENS = 512  # of a batch, for the metrics of every pair: all encode them densely


def fit_tokens(
    tokens: Mapping[str, Tensor] | Feed,
    settings: FitSettings,
    usae: USAE | None = None,
    device: torch.device | str = "cpu",
    progress: StepCallback = lambda step, metrics: None,
    checkpointer: TrainingCheckpointer | None = None,
    log_every: int | None = None,
    ranks: DistributedContext = SINGLE_PROCESS,
    frozen: Sequence[str] = (),
) -> USAE:
    """Train a USAE on paired tokens.

    Args:
        tokens: {backbone: (n, width)}, row n the same patch of the same image in all; or a feed of such tokens.
        settings: size, length and recipe.
        usae: the model to train; a new one by default.
        device: where to train.
        progress: called with the step and its metrics: loss, dead ({backbone: share of the concepts that have not
            fired for long through its encoder}), learning_rate, tokens_per_second, gb_read, and {from: {to: ...}}
            pair_loss and r2, the latter around each feature's mean.
        checkpointer: writes training states, and resumes from the last.
        log_every: steps between two calls of `progress`; a hundredth of the training by default.
        ranks: the processes that train as one; each gets the same tokens and takes its part of every batch.
        frozen: backbones of `usae` that stay as they are, to the bit; the others learn to share their concept space.

    Raises:
        ValueError: for tokens of different lengths, of another shape, or not finite; or a loss that stops being finite.
    """
    keep_memory()
    feed: Feed = MemoryFeed(tokens) if isinstance(tokens, Mapping) else tokens
    if settings.recipe.shuffled:
        feed = ShuffledFeed(feed, settings.seed)
    usae = (usae or new_usae(feed.widths, settings)).to(device)
    generator = torch.Generator().manual_seed(settings.seed)
    trained = [name for name in feed.widths if name not in frozen]
    prepared = prepare(usae, feed, settings, trained, frozen, generator)
    trainer = Trainer(
        initial_state(usae, feed, settings, trained, generator, ranks), ranks, frozen, prepared.thresholds
    )
    first = 0 if checkpointer is None else checkpointer.restore(trainer.state, ranks)
    trainer.resume_at(first)
    log_every = log_every or max(1, settings.steps // DEFAULT_LOG_COUNT)
    for step in range(first, settings.steps):
        logged = step % log_every == 0 or step == settings.steps - 1
        metrics = trainer.step(step, logged, checkpointer)
        if logged:
            progress(step + 1, metrics)
        if checkpointer is not None:
            checkpointer.after(step + 1, trainer.state, trainer.ranks)
    for name in trained:
        release(usae.decoder(name))
    set_thresholds(usae, prepared.sample, finished=True)
    return usae.eval().requires_grad_(False)


def initial_state(
    usae: USAE,
    feed: Feed,
    settings: FitSettings,
    trained: Sequence[str],
    generator: torch.Generator,
    ranks: DistributedContext,
) -> TrainingState:
    """The state of a training before its first step."""
    optimizers = {name: new_optimizer(usae, name, settings.recipe) for name in trained}
    last_fired = torch.zeros(len(usae.names), usae.n_concepts, dtype=torch.long, device=usae.device)
    share_statistics(usae, ranks)
    once = pays_to_standardize_once(feed, settings, usae.device, ranks)
    batches = (
        Batches(feed, settings.batch, generator, StandardizedWindow(usae, settings.batch) if once else None)
        if ranks.world_size == 1
        else RankBatches(feed, settings.batch, generator, ranks)
    )
    return TrainingState(settings, usae, optimizers, batches, generator, last_fired)


class Trainer:
    """Takes the steps of one training.

    Args:
        state: what the steps change.
        ranks: the processes that train as one.
        frozen: backbones that stay as they are.
        thresholds: {backbone: norm above which a token is an outlier}, where those are masked.
    """

    def __init__(
        self,
        state: TrainingState,
        ranks: DistributedContext = SINGLE_PROCESS,
        frozen: Sequence[str] = (),
        thresholds: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.state, self.ranks, self.frozen, self.thresholds = state, ranks, frozen, thresholds
        self.usae, self.settings, self.recipe = state.usae, state.settings, state.settings.recipe
        widths, device = [*self.usae.widths.values()], self.usae.device
        self.noises = NoiseSource(self.recipe.noise, self.settings.batch, widths, self.settings.seed, device)
        self.foreign = torch.stack([self.usae.private.is_foreign(name) for name in self.usae.names]).to(device)
        self.speed = Speed()
        self.resume_at(0)

    def resume_at(self, step: int) -> None:
        """Note what is dead in the state before a step."""
        self.dead = self._dead_before(step)
        self.n_dead: list[float] = self.dead.sum(1).tolist()

    def _dead_before(self, step: int) -> Tensor:
        """(backbones, n_concepts) bool: concepts that have not fired for long through a backbone that has them."""
        dead = step - self.state.last_fired > self.recipe.dead_after
        return dead & ~self.foreign if self.usae.private else dead

    def step(self, step: int, logged: bool = False, checkpointer: TrainingCheckpointer | None = None) -> dict[str, Any]:
        """Take one step.

        Args:
            step: its number, from 0.
            logged: whether its metrics are wanted.
            checkpointer: whose last state an error names.

        Returns:
            Its metrics, as `fit_tokens` reports them; empty unless `logged`.

        Raises:
            UsageError: for tokens, a loss or a gradient that is not finite; nothing is changed then.
        """
        usae, generator = self.usae, self.state.generator
        batch, places = self._next_batch()
        drawn = usae.names[int(torch.randint(len(usae.names), (1,), generator=generator))]
        stepping = stepping_pairs(self.recipe, usae.names, drawn, self.frozen)
        loss, fired = self._loss(batch, places, drawn, stepping, exact=step < EXACT_STEPS)
        norms = self._gradients(loss, stepping)
        dead_before = self._note_fired(fired, step)
        # all that a step reads of what it computed, together, for this waits for a GPU
        (whole_loss,), read_norms, self.n_dead = read_numbers(self.ranks.mean(loss.detach()), norms, self.dead.sum(1))
        if not is_sound(whole_loss):
            self._raise_for_loss(whole_loss, batch, step, checkpointer)
        pairs = self._pair_metrics(batch, len(places)) if logged else {}  # as they are before the step
        rate = learning_rate(step, self.settings)
        if wrong := clip_gradients(usae, stepping, self.recipe, self.state.optimizers, norms, read_norms):
            raise_on_all(self.ranks, checkpointer, f"the gradient of {', '.join(wrong)} is not finite at step {step}")
        self._apply_gradients(stepping, rate)
        follow_thresholds(usae, batch, stepping, self.ranks)
        self.speed.add(self.settings.batch)
        return self._metrics(whole_loss, dead_before, rate) | pairs if logged else {}

    def _next_batch(self) -> tuple[dict[str, Tensor], Tensor]:
        """A batch's standardized tokens (rows, width) by backbone, and each row's place in the whole batch."""
        batches, usae = self.state.batches, self.usae
        shown = batches.next()
        if batches.prepare is not None:  # they are standardized already
            return shown, batches.places
        rows, count = rows_without_outliers(shown, self.thresholds)
        if self.thresholds:  # one rank's part of the batch may have more outliers than another's
            self.ranks = self.ranks.weighted_by(count)
            share_statistics(usae, self.ranks)
        batch = {name: standardized(usae, name, to_device(raw[rows], usae.device)) for name, raw in shown.items()}
        return batch, batches.places[rows]

    def _loss(
        self, batch: Mapping[str, Tensor], places: Tensor, drawn: str, stepping: Sequence[str], exact: bool
    ) -> tuple[Tensor, Tensor]:
        """The loss, and which concepts fired through which encoder (backbones, n_concepts)."""
        plan = StepPlan(
            self.recipe,
            encoding_backbones(self.recipe, self.usae.names, drawn),
            stepping,
            noise=self.noises.draw(self.state.generator),
            fractions=self.usae.private.matryoshka_fractions(fractions_of(self.recipe, self.state.generator)),
            exact=exact,
            ranks=self.ranks,
        )
        with parametrize.cached():  # rows that a variant makes are made once per step
            return step_loss(self.usae, batch, plan, self.dead, places, self.n_dead)

    def _gradients(self, loss: Tensor, stepping: Sequence[str]) -> Tensor:
        """The gradients of the pairs that step, the same on all ranks; their norms (pairs,)."""
        self.usae.zero_grad()
        (loss * self.ranks.weight).backward()
        leave_out_gradients(self.usae, stepping)
        for name in stepping:
            self.ranks.average_gradients(trained_parameters(self.usae, name, self.recipe))
        return gradient_norms(self.usae, stepping, self.recipe)

    def _note_fired(self, fired: Tensor, step: int) -> Tensor:
        """Note what fired; returns which concepts were dead before the step (backbones, n_concepts)."""
        last_fired, dead_before = self.state.last_fired, self.dead
        last_fired.masked_fill_(self.ranks.any(fired & (self.ranks.weight > 0)), step)
        self.dead = self._dead_before(step + 1)
        return dead_before

    def _pair_metrics(self, batch: Mapping[str, Tensor], n_rows: int, tokens: int = LOGGED_TOKENS) -> dict[str, Any]:
        """The metrics of every pair, on at most that many tokens.

        They are spread over the batch: a rank's part is in the order of rows, and the first would always be the same.
        """
        spaced = max(1, -(-n_rows // tokens))
        spread_out = {name: tokens_of[::spaced] for name, tokens_of in batch.items()}
        return pair_metrics(self.usae, spread_out, ERRORS[self.recipe.loss], self.ranks)

    def _raise_for_loss(
        self, loss: float, batch: Mapping[str, Tensor], step: int, checkpointer: TrainingCheckpointer | None
    ) -> NoReturn:
        """End the training for a loss that is not finite, and say where it comes from."""
        n_rows = len(next(iter(batch.values())))
        pairs = self._pair_metrics(batch, n_rows, tokens=max(1, n_rows))
        if broken := backbones_of_broken_tokens(batch, self.ranks):
            what = f"{', '.join(broken)}: some tokens of step {step} are NaN or infinite"
            raise_on_all(self.ranks, checkpointer, what, "check the backbone's weights")
        where = unsound_pairs(pairs["pair_loss"])
        raise_on_all(self.ranks, checkpointer, f"the loss is {loss} at step {step}{where and f' ({where})'}")

    def _apply_gradients(self, stepping: Sequence[str], rate: float) -> None:
        for name in stepping:
            optimizer = self.state.optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"]
            optimizer.step()
            project(self.usae.decoder(name), self.recipe.renormalize)
        close_foreign(self.usae, stepping)  # weight decay has moved biases

    def _metrics(self, loss: float, dead_before: Tensor, rate: float) -> dict[str, Any]:
        shares = dead_before.sum(1) / (~self.foreign).sum(1)
        dead = dict(zip(self.usae.names, shares.tolist(), strict=True))
        read = {"tokens_per_second": self.speed.take(), "gb_read": self.state.batches.bytes_read / 1e9}
        return {"loss": loss, "dead": dead, "learning_rate": rate, **read}


def backbones_of_broken_tokens(batch: Mapping[str, Tensor], ranks: DistributedContext) -> list[str]:
    """The backbones that have a token of the batch, on any rank, that is not finite."""
    broken = [name for name, tokens in batch.items() if not tokens.isfinite().all()]
    return sorted({name for names in ranks.gather(broken) for name in names})


def raise_on_all(
    ranks: DistributedContext,
    checkpointer: TrainingCheckpointer | None,
    what: str,
    advice: str = "lower the recipe's learning_rate",
) -> NoReturn:
    """End a training that went wrong, before the step is taken: states on disk are still good."""
    last_good = "" if checkpointer is None else checkpointer.last_good()
    with ranks.raise_together():
        raise UsageError(f"{what}; {advice}{last_good}")
    raise AssertionError("raise_together raised nothing")


def new_usae(widths: Mapping[str, int], settings: FitSettings, **source: object) -> USAE:
    """A USAE of a fit's size with weights drawn from its seed; `source` goes to `USAE` (specs, grid, ...)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return USAE(
            widths,
            settings.n_concepts,
            settings.k,
            batch_norm=settings.recipe.batch_norm,
            unit_norm=settings.recipe.unit_norm,
            recipe=settings.recipe.title,
            **{  # type: ignore[arg-type]
                "sparsity": sparsity_of(settings, list(widths)),
                "private": private_ranges(list(widths), settings.n_concepts, settings.n_private),
                **source,
            },
        )


def sparsity_of(settings: FitSettings, names: Sequence[str]) -> Sparsity:
    """Which concepts of a token are active; with `k_private`, so many of the k largest are private ones.

    Raises:
        UsageError: for private concepts that leave none to share or too few for the Matryoshka fractions, or for more
            active concepts than a backbone has.
    """
    ranges = private_ranges(names, settings.n_concepts, settings.n_private)
    private = PrivateConcepts(names, settings.n_concepts, ranges)
    if settings.k > (most := min(private.counts().values())):
        raise UsageError(
            f"k is {settings.k}, and a backbone has {private.n_shared} shared concepts and {settings.n_private} of its "
            f"own; expected k <= {most}"
        )
    if private:
        settings.check_parts(private.n_shared)
    if not settings.k_private:
        return trained_sparsity(settings.recipe.sparsity)
    split = SplitTopK(n_shared=private.n_shared, k_private=settings.k_private)
    split.check_sizes(settings.k, private)
    return split


def fractions_of(recipe: TrainingRecipe, generator: torch.Generator) -> tuple[float, ...]:
    """The shares of the concepts that must explain tokens alone at a step: the recipe's, or as many drawn ones.

    They are drawn between the least and 1, evenly on a logarithmic scale: the first concepts are alone most often.
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
    """AdamW over what training may change of a pair, fused; `clip_gradients` relies on that."""
    thresholds = learned_thresholds(usae, name)
    weights = trained_parameters(usae, name, recipe)[: -1 if thresholds else None]
    groups: list[dict[str, Any]] = [{"params": weights, "times": 1.0}]
    if thresholds:  # their decay is what brings back a concept that its threshold silenced
        groups += [{"params": thresholds, "times": usae.sparsity.threshold_rate}]
    # fused: 5 ms for twice 6144 x 768, where the plain one takes 53 (one core of an EPYC)
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )
