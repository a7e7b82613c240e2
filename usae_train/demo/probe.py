"""Have the demo backbones learned something? Linear probes on their tokens, on scenes that no training saw."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.backbones import Backbone
from usae_train.demo.factors import BACKGROUND, FACTORS, PURE, patch_shares
from usae_train.images import DemoImages
from usae_train.tokens import collect_tokens

STEPS, BATCH, LEARNING_RATE = 1500, 4096, 3e-3


def patch_labels(source: DemoImages, numbers: Tensor, grid: tuple[int, int], size: int) -> dict[str, Tensor]:
    """Each factor's value at every patch, {factor: (image * token,)}; -1 where no value covers more than half.

    Shape is asked of objects alone: a patch of background has -1 there.
    """
    found: dict[str, list[Tensor]] = {factor: [] for factor in FACTORS}
    for number in numbers.tolist():
        for factor, labels in source.labels(number, size).items():
            share, value = patch_shares(labels[None], len(FACTORS[factor]), grid)[0].max(-1)
            unclear = (share <= PURE) | ((value == BACKGROUND) & (factor == "shape"))
            found[factor].append(torch.where(unclear, -1, value))
    return {factor: torch.cat(parts) for factor, parts in found.items()}


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
    size = max(b.input_size for b in backbones.values())
    sets = []
    for source in (DemoImages(scenes, "train"), DemoImages(scenes // 2, "test")):
        paired = collect_tokens(backbones, source, grid)
        sets.append((paired.flat(), patch_labels(source, paired.numbers, grid, size)))
    (train, train_labels), (test, test_labels) = sets
    return {
        name: {
            factor: _accuracy(train[name], train_labels[factor], test[name], test_labels[factor], seed)
            for factor in FACTORS
        }
        for name in backbones
    }


def _accuracy(tokens: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, seed: int) -> float:
    tokens, labels = tokens[labels >= 0].float(), labels[labels >= 0]
    test, test_labels = test[test_labels >= 0].float(), test_labels[test_labels >= 0]
    mean, std = tokens.mean(0), tokens.std(0).clamp_min(1e-6)
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(tokens.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.AdamW(linear.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(tokens), (BATCH,), generator=generator)
        loss = functional.cross_entropy(linear((tokens[rows] - mean) / std), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return (linear((test - mean) / std).argmax(-1) == test_labels).float().mean().item()
