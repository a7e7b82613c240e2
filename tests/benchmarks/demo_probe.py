"""Nine figures: have the demo backbones learned something? Linear probes on their tokens, on held-out scenes.

Run from the project's root (about three minutes on 2 cores):

    python tests/benchmarks/demo_probe.py [--usae demo] [--scenes 1500] [--values]

With --values a table more: the AUROC of a linear direction that was taught a factor value, which is about what a
concept for it could reach at best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

import usae_train as ut
from usae_train.backbones.backbone import Backbone
from usae_train.backbones.common_sizes import largest_input
from usae_train.evaluation.ground_truth.truth import factor_truth
from usae_train.images.sources import DemoImages
from usae_train.model.statistics import auroc
from usae_train.scenes.factors import BACKGROUND, FACTOR_VALUES, FACTORS, PURE, patch_shares
from usae_train.tokens.paired import PairedTokens, TokenSource, collect_tokens

STEPS, BATCH, LEARNING_RATE = 1500, 4096, 3e-3


def patch_labels(source: DemoImages, numbers: Tensor, grid: tuple[int, int], size: int) -> dict[str, Tensor]:
    """Each factor's value at every patch, {factor: (image * token,)}; -1 where no value covers more than half.

    Shape is asked of objects alone: a patch of background has -1 there.
    """
    labels_of: dict[str, list[Tensor]] = {factor: [] for factor in FACTORS}
    for number in numbers.tolist():
        for factor, labels in source.labels(number, size).items():
            share, value = patch_shares(labels[None], len(FACTORS[factor]), grid)[0].max(-1)
            unclear = (share <= PURE) | ((value == BACKGROUND) & (factor == "shape"))
            labels_of[factor].append(torch.where(unclear, -1, value))
    return {factor: torch.cat(parts) for factor, parts in labels_of.items()}


def probe(
    backbones: Mapping[str, Backbone], grid: tuple[int, int], scenes: int = 1500, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Accuracy of a linear probe a factor and backbone, {backbone: {factor: accuracy}}, on scenes of no training.

    Args:
        backbones: the backbones.
        grid: where tokens are compared.
        scenes: scenes to train the probes on; half as many to test them.
        seed: order of the training tokens.
    """
    size = largest_input(backbones)
    (train, train_labels), (test, test_labels) = (
        (paired.flat(), patch_labels(source, paired.numbers, grid, size))
        for source, paired in _seen(backbones, grid, scenes)
    )
    accuracy: dict[str, dict[str, float]] = {}
    for name in backbones:
        accuracy[name] = {}
        for factor in FACTORS:
            trained, tested = train_labels[factor] >= 0, test_labels[factor] >= 0
            scores = _linear_scores(
                train[name][trained], train_labels[factor][trained], test[name][tested], functional.cross_entropy, seed
            )
            accuracy[name][factor] = (scores.argmax(-1) == test_labels[factor][tested]).float().mean().item()
    return accuracy


def linear_areas(
    backbones: Mapping[str, Backbone], grid: tuple[int, int], scenes: int = 1500, seed: int = 0
) -> dict[str, dict[str, float]]:
    """How well one direction of a backbone can follow a factor value, when it is taught to: {backbone: {value: AUROC}}.

    A concept's pre-code is such a direction, found without being taught: where this is low, no concept can do well.

    Args:
        backbones: the backbones.
        grid: where tokens are compared.
        scenes: scenes to train the directions on; half as many to test them.
        seed: order of the training tokens.
    """
    (train, labels), (test, truth) = (
        (paired.flat(), factor_truth(source, paired.numbers, grid)) for source, paired in _seen(backbones, grid, scenes)
    )
    areas_of: dict[str, dict[str, float]] = {}
    for name in backbones:
        scores = _linear_scores(
            train[name], labels.float(), test[name], functional.binary_cross_entropy_with_logits, seed
        )
        areas = auroc(scores, truth).diagonal()
        areas_of[name] = dict(zip(FACTOR_VALUES, areas.tolist(), strict=True))
    return areas_of


def _seen(
    backbones: Mapping[str, Backbone], grid: tuple[int, int], scenes: int
) -> list[tuple[DemoImages, PairedTokens]]:
    """Scenes to train on and half as many to test on, as the backbones see them."""
    sources = DemoImages(scenes, "train"), DemoImages(scenes // 2, "test")
    return [(source, collect_tokens(TokenSource(backbones, source, grid))) for source in sources]


def _linear_scores(
    tokens: Tensor, labels: Tensor, test: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor], seed: int
) -> Tensor:
    """What a linear layer that was trained on some tokens says of others: (test, values).

    Args:
        tokens: (n, width).
        labels: (n,) numbers of values, or (n, values).
        test: (test, width).
        loss_of: of scores (n, values) and what is wanted.
        seed: order of the tokens.
    """
    tokens, test = tokens.float(), test.float()
    mean, std = tokens.mean(0), tokens.std(0).clamp_min(1e-6)
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(tokens.shape[1], labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.AdamW(linear.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(tokens), (BATCH,), generator=generator)
        loss = loss_of(linear((tokens[rows] - mean) / std), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        scores: Tensor = linear((test - mean) / std)
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--scenes", type=int, default=1500, help="to train the probes on; half as many to test them")
    parser.add_argument("--values", action="store_true", help="AUROC of a taught direction for each value as well")
    chosen = parser.parse_args()
    usae = ut.load(chosen.usae)
    assert usae.grid is not None
    print("backbone  " + "  ".join(f"{factor:>8s}" for factor in FACTORS))
    for name, accuracies in probe(usae.backbones, usae.grid, chosen.scenes).items():
        print(f"{name:9s} " + "  ".join(f"{accuracies[factor]:8.3f}" for factor in FACTORS), flush=True)
    if chosen.values:
        areas = linear_areas(usae.backbones, usae.grid, chosen.scenes)
        print(f"{'':20s}" + "".join(f"{name:>9s}" for name in areas))
        for value in FACTOR_VALUES:
            print(f"{value:20s}" + "".join(f"{by_value[value]:9.3f}" for by_value in areas.values()))


if __name__ == "__main__":
    main()
