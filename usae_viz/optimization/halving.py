"""What is drawn at once, halved where a GPU's memory turns out to be too small for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from usae_train.runtime.printing import plural
from usae_train.runtime.progress import StepCallback
from usae_train.runtime.shortage import is_want_of_memory
from usae_train.runtime.warned import OneLine
from usae_viz.optimization.drawing import DrawnCanvases, DrawTogether
from usae_viz.optimization.loop import CanvasSpec, InvalidImageScore
from usae_viz.settings import MaximizeSettings
from usae_viz.views.viewing import ViewConfig


@dataclass
class HalvingDraw:
    """Draws as `draw` does; objectives that do not fit into the memory together are drawn in halves from then on.

    One warning says so. What one objective takes alone, and does not fit, is the error that it was.

    Attributes:
        draw: how pictures that are drawn at once come about.
        batch_size: objectives at most; nothing is known of it before the first time.
    """

    draw: DrawTogether
    batch_size: int | None = None

    def __call__(
        self,
        view_config: ViewConfig,
        specs: Sequence[CanvasSpec],
        settings: MaximizeSettings,
        start: Tensor | None,
        progress: StepCallback,
    ) -> list[DrawnCanvases]:
        """Canvases of the first objectives, as many as fit: what is finished is handed on before more is begun.

        A picture whose score is not finite is named by its row among all of them.
        """
        while True:
            limit = min(self.batch_size or view_config.batch_size, view_config.batch_size)
            rows = _first_objectives(specs, limit)
            drawn = self._drawn(replace(view_config, batch_size=limit), specs, rows, settings, start, progress)
            if drawn:
                return [_named(each, specs) for each in drawn]
            self._halve(limit)  # beyond the error, whose traceback holds what the pack took

    def _drawn(
        self,
        view_config: ViewConfig,
        specs: Sequence[CanvasSpec],
        rows: Sequence[int],
        settings: MaximizeSettings,
        start: Tensor | None,
        progress: StepCallback,
    ) -> list[DrawnCanvases]:
        """Some rows of the pictures; none where they do not fit and are of more than one objective."""
        try:
            return self.draw(view_config, [specs[row] for row in rows], settings, start, progress)
        except InvalidImageScore as error:
            raise InvalidImageScore(rows[error.row], str(error)) from error
        except RuntimeError as error:  # torch.OutOfMemoryError is one, and so is what cuBLAS and cuDNN lack it by
            if view_config.batch_size == 1 or not is_want_of_memory(error):
                raise
            return []

    def _halve(self, limit: int) -> None:
        if self.batch_size is None:
            why = f"{plural(limit, 'objective')} at once do not fit into the GPU's memory: fewer are drawn from now on"
            advice = "what is finished is kept; a lower --memory (GB) begins with fewer"
            warnings.warn(f"{why}; {advice}", OneLine, stacklevel=2)
        self.batch_size = max(1, limit // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _first_objectives(specs: Sequence[CanvasSpec], most: int) -> list[int]:
    """Those rows whose pictures are of the first so many objectives."""
    first = set(list(dict.fromkeys(id(spec.objective) for spec in specs))[:most])
    return [row for row, spec in enumerate(specs) if id(spec.objective) in first]


def _named(drawn: DrawnCanvases, specs: Sequence[CanvasSpec]) -> DrawnCanvases:
    """Canvases whose picture with a score that is not finite, if any, is named by its row among all of them."""
    failed_row = drawn.result.failed_row
    if failed_row is None:
        return drawn
    row = next(row for row, spec in enumerate(specs) if spec is drawn.specs[failed_row])
    return replace(drawn, result=replace(drawn.result, failed_row=row))
