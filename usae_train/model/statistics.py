"""Per-concept statistics of a USAE over many pictures: what fires, where, how strongly, and in which backbones."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.atomic import atomic_path
from usae_train.files.tensor_files import load_file, safe_open, save_tensors
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

FIRING_THRESHOLD = 0.1  # a concept fires when its code is larger (Thasarathan et al. 2025, section 4.1)
LEVELS = (0.5, 0.9, 0.99, 0.999, 1.0)
TOP_IMAGES = 8  # per concept and backbone
MIN_COFIRES = 50  # fewer say little about a share; the paper uses 1000 on its larger sets


def images_needed(level: float) -> int:
    """How many pictures a quantile needs: enough that one of them stands above it (99.9%: 1000)."""
    return 1 if level >= 1 else round(1 / (1 - level))


@dataclass(frozen=True)
class Statistics:
    """Figures per concept. The backbone axis follows the USAE's order of backbones."""

    fires: Tensor  # (backbones, concepts) tokens in which the concept fires
    co_fires: Tensor  # (concepts,) tokens in which it fires in every backbone
    energy: Tensor  # (backbones, concepts) ||E[z_k] D_k||^2
    quantiles: Tensor  # (backbones, concepts, 5) of an image's largest code, at LEVELS; NaN where images were too few
    top_images: Tensor  # (backbones, concepts, top) numbers of the pictures with the largest codes; -1 for none
    top_tokens: Tensor  # (backbones, concepts, top) which token of the picture
    counts: Tensor  # (2,) pictures and tokens that were measured
    auroc: Tensor | None = None  # (backbones, factor values, concepts), where the truth is known

    def __repr__(self) -> str:
        return f"<Statistics: {self.in_words}>"

    def save(self, file: Path, origin: dict[str, str] | None = None) -> None:
        """Write a .safetensors file, whole or not at all.

        Args:
            file: where.
            origin: the USAE (`usae_sha256`) and the pictures; see `read_origin`.
        """
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        with atomic_path(file) as temporary:
            save_tensors(tensors, temporary, origin)

    @classmethod
    def load(cls, file: Path) -> Statistics:
        """Read what `save` wrote.

        Raises:
            ValueError: for a file that is broken or lacks a figure.
        """
        try:
            figures = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{file} is not a readable statistics file: {error}") from error
        names = [field.name for field in fields(cls)]
        if lacking := [name for name in names if name not in figures and name != "auroc"]:
            raise UsageError(f"{file} is not a readable statistics file: it lacks {', '.join(lacking)}")
        if others := [name for name in figures if name not in names]:
            raise UsageError(f"{file} is not a readable statistics file: it also has {', '.join(others)}")
        return cls(**figures)

    @property
    def alive(self) -> Tensor:
        """(concepts,): whether a concept fires in any backbone."""
        return (self.fires > 0).any(0)

    @property
    def alive_in_words(self) -> str:
        """How many concepts fire in any backbone, and in all."""
        everywhere = f", {int((self.fires > 0).all(0).sum())} in every backbone" if len(self.fires) > 1 else ""
        return f"{int(self.alive.sum())} of {plural(len(self.alive), 'concept')} fire{everywhere}"

    @property
    def in_words(self) -> str:
        """How many concepts fire, and on how many pictures and tokens."""
        pictures, tokens = map(int, self.counts)
        sample = plural(tokens, "token") + ("" if pictures == tokens else f" of {plural(pictures, 'picture')}")
        return f"{self.alive_in_words}, on {sample}"

    @property
    def firing_share(self) -> Tensor:
        """(backbones, concepts): share of the tokens in which a concept fires."""
        return self.fires / self.counts[1].clamp_min(1)

    @property
    def dead_share(self) -> Tensor:
        """(backbones,): share of the concepts that never fire in a backbone."""
        return (self.fires == 0).float().mean(1)

    @property
    def co_firing(self) -> Tensor:
        """(backbones, concepts): of a backbone's fires, the share that all backbones have at the same patch."""
        return self.co_fires / self.fires.clamp_min(1)

    @property
    def firing_entropy(self) -> Tensor:
        """(concepts,): entropy of the backbones' shares of fires over log(backbones); NaN where nothing fires."""
        n_backbones = len(self.fires)
        share = self.fires / self.fires.sum(0)
        entropy = torch.special.xlogy(share, share).sum(0).abs()  # where one alone fires 0, not -0
        return entropy / math.log(n_backbones) if n_backbones > 1 else torch.full_like(entropy, torch.nan)

    @property
    def universality(self) -> Tensor:
        """(concepts,), 0..1: the smallest co-firing share of any backbone, beyond chance; 0 under 50 co-fires.

        Firing entropy asks whether a concept fires equally often; this asks whether it fires on the same patches.
        Concepts that fire on half of all tokens meet often without having anything in common: so the
        share that is expected by chance is subtracted, as in Cohen's kappa.
        """
        share, n_backbones = self.firing_share, len(self.fires)
        others = [[other for other in range(n_backbones) if other != row] for row in range(n_backbones)]
        chance = torch.stack([share[rows].prod(0) if rows else torch.zeros_like(share[0]) for rows in others])
        beyond = ((self.co_firing - chance) / (1 - chance)).nan_to_num(1.0).clamp(0, 1)  # 0/0: fires everywhere in all
        return torch.where(self.co_fires >= MIN_COFIRES, beyond.amin(0), 0.0)

    def percentile(self, backbone: int, concept: int, value: float) -> float:
        """A code's percentile among the pictures' largest codes, from the stored quantiles.

        Between two quantiles it is interpolated; above the largest code that was seen it is 100.
        """
        quantiles = self.quantiles[backbone, concept].tolist()
        measured = [
            (level, quantile) for level, quantile in zip(LEVELS, quantiles, strict=True) if not math.isnan(quantile)
        ]
        levels, values = zip((0.0, 0.0), *measured, strict=True)
        if value <= 0:
            return 0.0
        for (low, high), (start, end) in zip(pairwise(values), pairwise(levels), strict=True):
            if value < high:
                return float(100 * (start + (end - start) * (value - low) / (high - low)))
        return 100.0


def read_origin(file: Path) -> dict[str, str]:
    """The USAE and pictures of a statistics file; empty when it does not say.

    Raises:
        ValueError: for a file that is broken.
    """
    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is not a readable statistics file: {error}") from error


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
    sums = torch.stack(areas, 1) if areas else truth.new_zeros(truth.shape[1], 0)
    return ((sums - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)).float()
