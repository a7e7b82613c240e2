"""When to stop, and what to keep when something else stops the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from usae_train.runtime.transfers import to_device


class ConvergenceMonitor:
    """Which pictures' scores have settled: the mean of the last `window` steps is no higher than of as many before.

    A picture is held as it was then, so that it does not depend on those that go on beside it.

    Args:
        window: steps; None never settles.

    Attributes:
        converged_after: (pictures,) the steps after which each settled; 0 for those that have not.
    """

    def __init__(self, window: int | None) -> None:
        self.window, self.scores = window, list[Tensor]()
        self.converged_after = torch.zeros(0, dtype=torch.long)
        self._held: Tensor | None = None

    def update(self, scores: Tensor) -> None:
        """Take in a step's scores (pictures,), in the processor's memory."""
        self.scores.append(scores)
        if len(self.scores) == 1:
            self.converged_after = torch.zeros(len(scores), dtype=torch.long)
        if self.window is not None and len(self.scores) >= 2 * self.window:
            before, after = torch.stack(self.scores[-2 * self.window :]).chunk(2)
            now = ~(after.mean(0) > before.mean(0)) & (self.converged_after == 0)
            self.converged_after[now] = len(self.scores)

    def __bool__(self) -> bool:
        return bool(len(self.converged_after) and self.converged_after.all())

    def mask_converged(self, values: Tensor) -> Tensor:
        """(pictures, ...) with zeros for those that have settled."""
        if not self.converged_after.any():
            return values
        return torch.where(to_device(self.converged_after == 0, values.device)[:, None, None], values, 0.0)

    def freeze_converged(self, canvas: Tensor) -> Tensor:
        """The canvases (pictures, 3, H, W) that the last step left; of those settled before it, the held ones."""
        if self._held is None or not self.converged_after.any():
            self._held = canvas
        else:
            going = to_device((self.converged_after == 0) | (self.converged_after == len(self.scores)), canvas.device)
            self._held = torch.where(going[:, None, None, None], canvas, self._held)
        return self._held


class BestCanvas:
    """Each picture's canvas where its smoothed score was highest: one step's score depends on the views drawn."""

    SMOOTHING = 0.8  # share of the old mean that a step keeps

    def __init__(self) -> None:
        self.canvas: Tensor | None = None
        self._mean: Tensor | None = None
        self._highest: Tensor | None = None

    def update(self, canvas: Tensor, scores: Tensor) -> None:
        """Compare a step's canvases (pictures, 3, H, W) by their scores (pictures,) with the best so far.

        The scores are in the processor's memory, wherever the canvases are.
        """
        if self.canvas is None or self._mean is None or self._highest is None:
            self.canvas, self._mean, self._highest = canvas.clone(), scores.clone(), scores.clone()
            return
        self._mean = torch.lerp(scores, self._mean, self.SMOOTHING)
        better = self._mean > self._highest
        if better.any():
            self.canvas = torch.where(to_device(better, canvas.device)[:, None, None, None], canvas, self.canvas)
        self._highest = torch.maximum(self._mean, self._highest)
