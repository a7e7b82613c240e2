"""A training on the terminal: its bars, and beneath them the metrics that tell whether it is going well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.progress import Progress
from rich.table import Table

from usae_train.evaluation.metrics import mean_on_and_off
from usae_train.runtime.printing import as_text


class TrainingDisplay(Progress):
    """rich's progress bars with a training's last metrics beneath."""

    metrics: Mapping[str, Any] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.metrics is not None:
            yield as_text(summary(self.metrics))
            yield r2_table(self.metrics["r2"])


def summary(metrics: Mapping[str, Any]) -> str:
    """One line: loss, R² on and off the diagonal, each backbone's dead share, learning rate, speed, GB read."""
    on, off = mean_on_and_off(metrics["r2"])
    across = "" if off is None else f", of others {off:.3f}"
    return (
        f"loss {metrics['loss']:.4f}   R² of own {on:.3f}{across} around the mean token   "
        f"dead {dead_shares(metrics['dead'])}   learning rate {metrics['learning_rate']:.2e}   "
        f"{metrics['tokens_per_second']:,.0f} tokens/s   {metrics['gb_read']:.3g} GB read"
    )


def dead_shares(dead: Mapping[str, float]) -> str:
    """Each backbone's share of dead concepts: `dino 85.0%, vit 0.2%`."""
    return ", ".join(f"{name} {share:.1%}" for name, share in dead.items())


def r2_table(matrix: Mapping[str, Mapping[str, float]]) -> Table:
    """R², a row for the backbone whose codes they are, a column for the one they are decoded to."""
    table = Table(title="R² on the last batch, around each feature's mean", title_justify="left")
    table.add_column("from")
    for target in matrix:
        table.add_column(as_text(f"to {target}"), justify="right")
    for source, row in matrix.items():
        table.add_row(as_text(source), *(f"{figure:.3f}" for figure in row.values()))
    return table
