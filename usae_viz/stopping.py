"""When to stop, and what to keep when something else stops the loop."""

from __future__ import annotations

import torch
from torch import Tensor


class Settled:
    """Whether scores have settled: no picture's mean of the last `window` steps exceeds that of as many before.

    Args:
        window: steps; None never settles.
    """

    def __init__(self, window: int | None) -> None:
        self.window, self.heard = window, list[Tensor]()

    def hear(self, scores: Tensor) -> None:
        """Take in a step's scores (pictures,)."""
        self.heard.append(scores)

    def __bool__(self) -> bool:
        if self.window is None or len(self.heard) < 2 * self.window:
            return False
        before, after = torch.stack(self.heard[-2 * self.window :]).chunk(2)
        return not (after.mean(0) > before.mean(0)).any()


class Best:
    """Each picture's canvas where its smoothed score was highest: one step's score depends on the views drawn."""

    SMOOTHING = 0.8  # share of the old mean that a step keeps

    def __init__(self) -> None:
        self.canvas: Tensor | None = None
        self._mean: Tensor | None = None
        self._highest: Tensor | None = None

    def keep(self, canvas: Tensor, scores: Tensor) -> None:
        """Compare a step's canvases (pictures, 3, H, W) by their scores (pictures,) with the best so far."""
        if self.canvas is None or self._mean is None or self._highest is None:
            self.canvas, self._mean, self._highest = canvas.clone(), scores.clone(), scores.clone()
            return
        self._mean = torch.lerp(scores, self._mean, self.SMOOTHING)
        better = self._mean > self._highest
        self.canvas[better] = canvas[better]
        self._highest = torch.maximum(self._mean, self._highest)
