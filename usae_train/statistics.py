"""Per-concept statistics of a USAE over many pictures: what fires, where, how strongly, and in which backbones."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from usae_train.atomic import atomic_path
from usae_train.tokens import PairedTokens
from usae_train.usae import USAE

TAU = 0.1  # a concept fires when its code is larger (Thasarathan et al. 2025, section 4.1)
LEVELS = (0.5, 0.9, 0.99, 0.999, 1.0)
TOP_IMAGES = 8
MIN_COFIRES = 50  # fewer say little about a share; the paper sets 1000 for its larger sets


@dataclass(frozen=True)
class Statistics:
    """Figures a concept. The backbone axis follows the USAE's order of backbones."""

    fires: Tensor  # (backbones, concepts) tokens in which the concept fires
    co_fires: Tensor  # (concepts,) tokens in which it fires in every backbone
    energy: Tensor  # (backbones, concepts) ||E[z_k] D_k||^2
    quantiles: Tensor  # (backbones, concepts, 5) of an image's largest code, at LEVELS
    top_images: Tensor  # (backbones, concepts, top) numbers of the pictures with the largest codes; -1 for none
    top_tokens: Tensor  # (backbones, concepts, top) which token of the picture
    counts: Tensor  # (2,) pictures and tokens that were looked at
    auroc: Tensor | None = None  # (backbones, factor values, concepts), where the truth is known

    def save(self, file: Path) -> None:
        """Write a .safetensors file, whole or not at all."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        with atomic_path(file) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)

    @classmethod
    def load(cls, file: Path) -> Statistics:
        """Read what `save` wrote.

        Raises:
            ValueError: for a file that is broken or lacks a figure.
        """
        try:
            return cls(**load_file(file))
        except (SafetensorError, OSError, TypeError) as error:
            raise ValueError(f"{file} is no readable statistics file: {error}") from error

    @property
    def firing_share(self) -> Tensor:
        """(backbones, concepts): share of the tokens in which a concept fires."""
        return self.fires / self.counts[1].clamp_min(1)

    @property
    def co_firing(self) -> Tensor:
        """(backbones, concepts): of a backbone's fires, the share that all backbones have at the same patch."""
        return self.co_fires / self.fires.clamp_min(1)

    @property
    def firing_entropy(self) -> Tensor:
        """(concepts,): entropy of the backbones' shares of fires over log(backbones); NaN where nothing fires."""
        n_backbones = len(self.fires)
        share = self.fires / self.fires.sum(0)
        entropy = -torch.special.xlogy(share, share).sum(0)
        return entropy / math.log(n_backbones) if n_backbones > 1 else torch.full_like(entropy, torch.nan)

    @property
    def universality(self) -> Tensor:
        """(concepts,), 0..1: the smallest co-firing share of any backbone; 0 under 50 co-fires.

        Firing entropy asks whether a concept fires equally often; this asks whether it fires on the same patches.
        """
        return torch.where(self.co_fires >= MIN_COFIRES, self.co_firing.amin(0), 0.0)

    def percentile(self, backbone: int, concept: int, value: float) -> float:
        """Where a code stands among the pictures' largest codes, in percent, by the kept quantiles.

        Between two quantiles it is interpolated; above the largest code that was seen it is 100.
        """
        values = [0.0, *self.quantiles[backbone, concept].tolist()]
        levels = [0.0, *LEVELS]
        if value <= 0:
            return 0.0
        for (low, high), (start, end) in zip(pairwise(values), pairwise(levels), strict=True):
            if value < high:
                return 100 * (start + (end - start) * (value - low) / (high - low))
        return 100.0


@torch.no_grad()
def measure(usae: USAE, paired: PairedTokens, chunk: int = 64) -> Statistics:
    """Work out a USAE's statistics on paired tokens, a chunk of pictures at a time.

    Args:
        usae: the model.
        paired: tokens {backbone: (image, token, width)}, and the pictures' numbers.
        chunk: pictures a step.
    """
    n_backbones, n_concepts = len(usae.names), usae.n_concepts
    n_images, n_tokens = next(iter(paired.tokens.values())).shape[:2]
    device = usae.dictionary(usae.names[0]).device
    fires = torch.zeros(n_backbones, n_concepts, dtype=torch.long)
    co_fires = torch.zeros(n_concepts, dtype=torch.long)
    sums = torch.zeros(n_backbones, n_concepts)
    largest = torch.zeros(n_backbones, n_images, n_concepts)
    places = torch.zeros(n_backbones, n_images, n_concepts, dtype=torch.int32)
    for start in range(0, n_images, chunk):
        together: Tensor | None = None
        for row, name in enumerate(usae.names):
            tokens = paired.tokens[name][start : start + chunk].to(device, torch.float32)
            codes = usae.encode(name, tokens).dense(n_concepts).cpu()
            fired = codes > TAU
            fires[row] += fired.sum((0, 1))
            sums[row] += codes.sum((0, 1))
            together = fired if together is None else together & fired
            largest[row, start : start + chunk], where = codes.max(1)
            places[row, start : start + chunk] = where.int()
        assert together is not None
        co_fires += together.sum((0, 1))
    top = min(TOP_IMAGES, n_images)
    values, rows = largest.topk(top, dim=1)  # (backbones, top, concepts)
    numbers = torch.where(values > 0, paired.numbers[rows], -1)
    return Statistics(
        fires=fires, co_fires=co_fires, energy=(sums / (n_images * n_tokens)).square(),
        quantiles=_quantiles(largest), top_images=numbers.mT.contiguous(),
        top_tokens=places.gather(1, rows).mT.contiguous(), counts=torch.tensor([n_images, n_images * n_tokens]),
    )  # fmt: skip


def _quantiles(largest: Tensor) -> Tensor:
    """(backbones, images, concepts) -> (backbones, concepts, levels), linear between images as numpy's default.

    By sorting, a backbone at a time: torch's own `quantile` refuses more than 16 million numbers.
    """
    found = []
    for of_one in largest:
        ordered = of_one.sort(dim=0).values
        places = torch.tensor(LEVELS) * (len(ordered) - 1)
        low, high = ordered[places.floor().long()], ordered[places.ceil().long()]
        found.append(torch.lerp(low, high, (places % 1)[:, None]).T)
    return torch.stack(found)


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of many scores against many yes/no labels, ties counted as half.

    Args:
        scores: (n, concepts).
        positive: (n, values) bool.

    Returns:
        (values, concepts); NaN for a label that is always or never true.
    """
    truth = positive.to(torch.float64)
    n_positive = truth.sum(0)[:, None]
    n_negative = len(truth) - n_positive
    areas = []
    for score in scores.T:  # one concept at a time: the ranks of all would not fit into memory
        _, inverse, count = score.unique(return_inverse=True, return_counts=True)
        last = count.cumsum(0).to(torch.float64)
        ranks = (last - (count - 1) / 2)[inverse]
        areas.append(ranks @ truth)
    sums = torch.stack(areas, 1)
    return ((sums - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)).float()
