"""What a training begins with: standardization, dictionary rows and thresholds, from some of its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.model.private import close_foreign
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.tokens.feeding import Feed
from usae_train.tokens.standardization import (
    STANDARDIZATION_IMAGES,
    WHITENING,
    spreads_of,
    sums_of,
    without_outliers,
)
from usae_train.training.alignment import aligned_rows
from usae_train.training.dictionaries.binding import bind_dictionaries
from usae_train.training.dictionaries.variants import read_dictionary
from usae_train.training.settings import FitSettings, TrainingRecipe
from usae_train.training.thresholds import set_thresholds, threshold_sample

NORM_TOKENS = 4096  # tokens from which the norm of frozen backbones is taken


class Preparation(NamedTuple):
    """What is known before the first step."""

    thresholds: dict[str, float]  # the norm above which a backbone's token is an outlier, where those are masked
    sample: dict[str, Tensor]  # tokens that the sparsity's own thresholds are taken from


def prepare(
    usae: USAE,
    feed: Feed,
    settings: FitSettings,
    trained: Sequence[str],
    frozen: Sequence[str],
    generator: torch.Generator,
) -> Preparation:
    """Make a USAE ready for training: standardized, initialized, with thresholds; frozen backbones stay as they are.

    Raises:
        UsageError: for parameters of the USAE or tokens that are not finite.
    """
    for name, parameter in usae.named_parameters():
        if not parameter.isfinite().all():
            raise UsageError(f"{name} of the USAE has values that are NaN or infinite; expected finite ones")
    rows = standardization_rows(len(feed), usae.grid, generator)
    set_trainable(usae, trained)
    thresholds = standardize_from(usae, feed, rows, trained, settings)
    sample = threshold_sample(usae, feed, rows, trained, thresholds)
    initialize(usae, feed, settings.recipe, settings.init_seed, frozen, thresholds)
    set_thresholds(usae, sample, finished=False)
    return Preparation(thresholds, sample)


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
    sums, mask, kind = sums_of(feed, rows), settings.mask_outliers, settings.recipe.standardization
    for name, of_backbone in sums.items():
        if not of_backbone.squares.isfinite().all():
            raise UsageError(f"{name}: some tokens are NaN or infinite; check the backbone's weights")
        outliers = of_backbone.outliers.model_copy(update={"masked": mask})
        if name in trained:
            usae.outliers[name] = outliers
            if kind == "scalar":
                usae.scale(name).set(*(of_backbone.without(outliers.threshold) if mask else of_backbone).mean_and_std)
    thresholds = {name: of_backbone.outliers.threshold for name, of_backbone in sums.items()} if mask else {}
    if kind != "scalar" and trained:
        within = [sums[name].within(most) for name, most in thresholds.items()]
        inside = rows[torch.stack(within).all(0)] if within else rows
        norm = common_norm(usae, feed, rows, trained)
        for name, spread in spreads_of(feed, inside if len(inside) else rows, trained).items():
            matrix = spread.whitening(norm, WHITENING if kind == "whitened" else 0.0)
            usae.scale(name).set_matrix(spread.mean, matrix)
    return thresholds


def common_norm(usae: USAE, feed: Feed, rows: Tensor, trained: Sequence[str]) -> float:
    """The root mean square norm of all backbones' standardized tokens, so that one code suits them all.

    A concept's rows have, or where lengths are free start with, norm 1 in every backbone: tokens of one scalar std have
    norms that grow with the width, and the same code would be too small for a wide backbone and too large for a narrow
    one. Beside frozen backbones it is theirs.
    """
    known = [name for name in usae.names if name not in trained]
    if not known:
        return math.sqrt(sum(usae.widths.values()) / len(usae.widths))
    tokens = feed.pick(rows[:NORM_TOKENS])
    standardized = [usae.standardize(name, tokens[name].to(usae.dictionary(name).device).float()) for name in known]
    squares = [(centred_tokens - centred_tokens.mean(0)).square().sum(-1).mean() for centred_tokens in standardized]
    return math.sqrt(torch.stack(squares).mean().item())


def set_trainable(usae: USAE, trained: Sequence[str]) -> None:
    """Make these backbones' pairs trainable, and freeze the others: no gradients, BatchNorm in evaluation mode."""
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
    begins with one meaning for all of them (the ablation: tests/benchmarks/recipe_ablation.py). Which tokens does not
    depend on the training's seed, so that two seeds come out alike. Beside frozen backbones, whose concepts have their
    meanings already, row k is the mean of the tokens at which theirs fire, whatever the recipe.
    """
    generator = torch.Generator().manual_seed(init_seed)
    chosen_tokens = feed.pick(torch.randint(len(feed), (usae.n_concepts,), generator=generator))
    sampled = feed.pick(torch.randint(len(feed), (min(len(feed), 20_000),), generator=generator))
    starts: dict[str, Tensor] = {}
    if thresholds:  # a dictionary row that starts at an outlier would serve outliers alone
        sampled = without_outliers(sampled, thresholds)
        # the first ones, in an order that is drawn already: one outlier more or less shifts rows and changes few
        rows = torch.arange(usae.n_concepts) % len(next(iter(sampled.values())))
        chosen_tokens = {name: tokens[rows] for name, tokens in sampled.items()}
    with torch.no_grad():
        for name in (name for name in feed.widths if name not in frozen):
            dictionary, linear = usae.decoder(name), usae.encoder(name).linear
            device = dictionary.weight.device
            if recipe.offset:
                dictionary.offset.copy_(usae.standardize(name, sampled[name].to(device).float()).mean(0))
            if frozen:
                new_tokens = usae.standardize(name, sampled[name].to(device).float()) - dictionary.offset
                rows = aligned_rows(usae, sampled, frozen, new_tokens)
                fires = (rows != 0).any(-1, keepdim=True)
                dictionary.weight.copy_(torch.where(fires, functional.normalize(rows, dim=-1), dictionary.weight))
            elif recipe.dictionary_init == "tokens":
                chosen = usae.standardize(name, chosen_tokens[name].to(device).float()) - dictionary.offset
                dictionary.weight.copy_(functional.normalize(chosen, dim=-1))
            close_foreign(
                usae, [name]
            )  # rows of other backbones' private concepts are zero before any is made from them
            starts[name] = dictionary.atoms
        bind_dictionaries(usae, read_dictionary(recipe.dictionary), starts, sampled)
        for name in starts:
            dictionary, linear = usae.decoder(name), usae.encoder(name).linear
            if recipe.tied:
                linear.weight.copy_(dictionary.atoms)
                linear.bias.copy_(-linear.weight @ dictionary.offset)
        close_foreign(usae, list(starts))
