"""`uv.render`: what `usae-viz render` does with a recipe, from Python; and the run that it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from usae_train.model.checkpoint import load
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress_display import progress_display
from usae_viz.export.sheet import SHEET
from usae_viz.runs.plan import RenderPlan, plan_recipe
from usae_viz.runs.recipe import read_render_recipe
from usae_viz.runs.render import RenderExecution, render_plan
from usae_viz.runs.run_writer import ObjectiveResult
from usae_viz.runs.shipped_recipes import find_recipe
from usae_viz.verification.scores import Scores, count_verdicts
from usae_viz.verification.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """A folder of drawings; in a notebook it shows the sheet of its first objective.

    Attributes:
        folder: where it is.
        drawn: each objective's folder, pictures and scores.
    """

    folder: Path
    drawn: Sequence[ObjectiveResult] = field(repr=False)

    @property
    def scores(self) -> list[Scores]:
        """The verification of each objective that has one."""
        return [each.scores for each in self.drawn if each.scores is not None]

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many pictures have which verdict."""
        return count_verdicts(self.scores)

    @property
    def sheets(self) -> list[Path]:
        """The sheets that were written, one per objective."""
        return [file for each in self.drawn if (file := each.folder / SHEET).is_file()]

    def __repr__(self) -> str:
        pictures = sum(len(each.images) for each in self.drawn)
        words = [f"{count} {verdict}" for verdict, count in self.verdicts.items() if count]
        return f"<Run {self.folder}: {', '.join([plural(pictures, 'picture'), *words])}>"

    def _repr_png_(self) -> bytes | None:
        return self.sheets[0].read_bytes() if self.sheets else None


def render(
    recipe: str | Path,
    out: str | Path,
    *,
    usae: USAE | str | None = None,
    labels: str | Path | None = None,
    allow_code: bool = False,
    workers: int | None = 1,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Run:
    """Draw what a recipe says, as `usae-viz render` does: concepts and objectives x variants x modes x seeds.

    Args:
        recipe: a YAML file, or the name of a shipped recipe (`usae-viz recipes` lists them).
        out: the run's folder. What is finished in it is kept; after a stop the same call draws what is missing.
        usae: in place of the recipe's own: a USAE, or what `usae_train.load` takes.
        labels: your own names for concepts, the JSON that the explorer exports; in place of the recipe's.
        allow_code: let the recipe import its own code, `module:Name`.
        workers: on the CPU, processes that share the work; None: as many as cores and memory allow, of which more than
            one only where torch computes with one thread (`torch.set_num_threads(1)`).
        device: where to draw; a USAE that is given stays where it is.
        quiet: show no bar, and say nothing at the end.

    Returns:
        The run.

    Raises:
        ValueError: for a recipe that cannot be read or drawn; with its line.
    """
    file = find_recipe(str(recipe))
    plan, model = plan_file(Path(file), usae, labels, allow_code, device)
    execution = RenderExecution(workers=workers)
    with progress_display(quiet) as progress:
        run = Run(Path(out), render_plan(model, plan, Path(out), progress.report, execution=execution))
        progress.close(lambda: _lines(run))
    return run


def plan_file(
    file: Path, usae: USAE | str | None, labels: str | Path | None, allow_code: bool, device: torch.device | str
) -> tuple[RenderPlan, USAE]:
    """What a recipe's file comes to, and on which USAE; the arguments are those of `render`.

    Raises:
        ValueError: for a recipe that cannot be read or drawn; with its line.
    """
    recipe = read_render_recipe(file, labels)
    model = usae if isinstance(usae, USAE) else load(usae or recipe.usae, device)
    try:
        return plan_recipe(model, recipe, file.parent, allow_code), model
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _lines(run: Run) -> list[str]:
    """What came of it, why some ended early, and what to do next."""
    ended = [f"{each.objective}: {each.ended}" for each in run.drawn if each.ended is not None]
    if any(each.stopped for each in run.drawn):
        return [repr(run), *ended, "stopped; the same call draws what is missing"]
    return [repr(run), *ended, f"all of it as a page: usae-viz explore {run.folder} --open"]
