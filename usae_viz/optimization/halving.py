"""What is drawn at once, halved where a GPU's memory turns out to be too small for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from usae_train.runtime.printing import plural
from usae_train.runtime.shortage import is_want_of_memory
from usae_train.runtime.warning_kinds import OneLineWarning
from usae_viz.optimization.drawing import CanvasBatch, DrawnCanvases, DrawTogether
from usae_viz.optimization.loop import CanvasSpec, InvalidImageScore


@dataclass
class HalvingDraw:
    """Draws as `draw` does; objectives that do not fit into the memory together are drawn in halves from then on.

    One warning says so. Where one objective alone does not fit, the error is passed on.

    Attributes:
        draw: how a batch of pictures is drawn.
        batch_size: the most objectives at a time; None until some did not fit.
    """

    draw: DrawTogether
    batch_size: int | None = None

    def __call__(self, batch: CanvasBatch) -> list[DrawnCanvases]:
        """Canvases of the first objectives, as many as fit: they are returned before others are started.

        A picture whose score is not finite is named by its row among all of them.
        """
        while True:
            limit = min(self.batch_size or batch.view_config.batch_size, batch.view_config.batch_size)
            rows = _first_objectives(batch.specs, limit)
            view_config = replace(batch.view_config, batch_size=limit)
            part = replace(batch, view_config=view_config, specs=[batch.specs[row] for row in rows])
            if canvases := self._drawn(part, rows):
                return [_with_failed_row_among(batch.specs, each) for each in canvases]
            self._halve(limit)  # after the error is released: its traceback holds the pack's memory

    def _drawn(self, part: CanvasBatch, rows: Sequence[int]) -> list[DrawnCanvases]:
        """A part of a batch, whose rows these are; none where it does not fit and is of more than one objective."""
        try:
            return self.draw(part)
        except InvalidImageScore as error:
            raise InvalidImageScore(rows[error.row], str(error)) from error
        except RuntimeError as error:  # torch.OutOfMemoryError is one; cuBLAS and cuDNN raise others
            if part.view_config.batch_size == 1 or not is_want_of_memory(error):
                raise
            return []

    def _halve(self, limit: int) -> None:
        if self.batch_size is None:
            why = f"{plural(limit, 'objective')} at once do not fit into the GPU's memory: fewer are drawn from now on"
            advice = "what is finished is kept; a lower --memory (GB) begins with fewer"
            warnings.warn(f"{why}; {advice}", OneLineWarning, stacklevel=2)
        self.batch_size = max(1, limit // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _first_objectives(specs: Sequence[CanvasSpec], count: int) -> list[int]:
    """The rows of the pictures of the first `count` objectives."""
    first = set(list(dict.fromkeys(id(spec.objective) for spec in specs))[:count])
    return [row for row, spec in enumerate(specs) if id(spec.objective) in first]


def _with_failed_row_among(specs: Sequence[CanvasSpec], canvases: DrawnCanvases) -> DrawnCanvases:
    """Canvases whose picture with a score that is not finite, if any, is named by its row among all of them."""
    failed_row = canvases.result.failed_row
    if failed_row is None:
        return canvases
    row = next(row for row, spec in enumerate(specs) if spec is canvases.specs[failed_row])
    return replace(canvases, result=replace(canvases.result, failed_row=row))
