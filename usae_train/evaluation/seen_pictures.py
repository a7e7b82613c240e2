"""What is kept of every picture beside its peak codes: its number, and what a judge makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.judging import Judge


class SeenPictures:
    """The pictures in the order in which `FiringTally.largest` has their codes.

    Args:
        judge: embeds them, where there is one.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge
        self.numbers = torch.empty(0, dtype=torch.long)
        self.embeddings = torch.empty(0, 0 if judge is None else judge.width)

    def fresh(self) -> SeenPictures:
        """The same with nothing in it."""
        return SeenPictures(self.judge)

    def add(self, numbers: Tensor, canvases: Tensor) -> None:
        """Take in some pictures: numbers (pictures,) and canvases (pictures, 3, H, W)."""
        width = self.embeddings.shape[1]
        embedded = torch.empty(len(numbers), width) if self.judge is None else self.judge.embed(canvases).cpu()
        self.merge({"numbers": numbers, "embeddings": embedded})

    def state_dict(self) -> dict[str, Any]:
        """All that is kept."""
        return {"numbers": self.numbers, "embeddings": self.embeddings}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Put another's pictures after these."""
        self.numbers = torch.cat([self.numbers, state["numbers"]])
        self.embeddings = torch.cat([self.embeddings, state["embeddings"]])
