"""What is kept of every picture beside its peak codes: its number, and its embedding by a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.judging import Judge


class PictureEmbeddings:
    """The pictures in the order in which `FiringTally.largest` has their codes.

    Args:
        judge: embeds them, where there is one.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge
        self._numbers = [torch.empty(0, dtype=torch.long)]  # joined when they are asked for, not at each batch
        self._embeddings = [torch.empty(0, 0 if judge is None else judge.width)]

    @property
    def numbers(self) -> Tensor:
        """(pictures,)."""
        self._numbers = [torch.cat(self._numbers)]
        return self._numbers[0]

    @property
    def embeddings(self) -> Tensor:
        """(pictures, width): unit vectors; of width 0 without a judge."""
        self._embeddings = [torch.cat(self._embeddings)]
        return self._embeddings[0]

    def fresh(self) -> PictureEmbeddings:
        """An empty copy."""
        return PictureEmbeddings(self.judge)

    def add(self, numbers: Tensor, canvases: Tensor) -> None:
        """Add some pictures: numbers (pictures,) and canvases (pictures, 3, H, W)."""
        embedded = torch.empty(len(numbers), 0) if self.judge is None else self.judge.embed(canvases).cpu()
        self.merge({"numbers": numbers, "embeddings": embedded})

    def state_dict(self) -> dict[str, Any]:
        """The pictures so far."""
        return {"numbers": self.numbers, "embeddings": self.embeddings}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Put another's pictures after these."""
        self._numbers.append(state["numbers"])
        self._embeddings.append(state["embeddings"])
