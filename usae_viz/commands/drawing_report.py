"""How any command draws a plan, and says what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from usae_train.runtime.printing import plural, say, say_error, say_json, say_table
from usae_train.runtime.terminal import progress_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from usae_train.model.usae import USAE
    from usae_viz.runs.plan import RenderPlan
    from usae_viz.runs.render import RenderExecution
    from usae_viz.runs.run_writer import ObjectiveResult


def render_and_report(
    usae: USAE,
    plan: RenderPlan,
    out: Path,
    quiet: bool,
    as_json: bool,
    execution: RenderExecution,
) -> None:
    """Draw a plan with progress bars, and say what came of it.

    Exits with status 130 when it was stopped by hand, and else with 1 when a score became NaN or infinite.
    """
    from usae_viz.runs.render import render_plan

    is_main = execution.ranks.is_main
    report_one = (lambda result: None) if quiet or as_json else _say_scores
    with progress_report(quiet) as report:
        results = render_plan(usae, plan, out, report, report_one, execution)
    if as_json and is_main:
        scores = [result.scores.as_dict() for result in results if result.scores is not None]
        say_json({"out": str(out), "concepts": scores})
    elif not quiet and any(result.images for result in results):
        _say_summary(results, out)
    _exit_as_drawn(results, is_main)


def _say_scores(result: ObjectiveResult) -> None:
    if not result.images:
        return
    if result.scores is not None:
        say_table(result.scores)
    else:  # rich would break a long line in two
        names = ", ".join(result.images)
        say(f"{result.objective}: {names} (not verified: it has no concept or class; see --verify)")


def _say_summary(results: Sequence[ObjectiveResult], out: Path) -> None:
    """How many pictures there are, how many of each verdict, and what to open."""
    from usae_viz.verification.scores import count_verdicts

    verdicts = count_verdicts(result.scores for result in results if result.scores is not None)
    pictures = sum(len(result.images) for result in results)
    words = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items() if count)
    say(f"{out}: {plural(pictures, 'picture')}" + (f", {words}" if words else ""), *_to_open(results, out))


def _exit_as_drawn(results: Sequence[ObjectiveResult], is_main: bool) -> None:
    """Say what ended early, and exit with its status.

    The first process reports all of them; a failing status of another would make torchrun end it before that.
    """
    stopped, failed = any(result.stopped for result in results), sum(result.failed for result in results)
    for result in results if is_main else ():
        if result.ended is not None and not result.images:
            say_error(result.ended)
        elif result.ended is not None:
            say(f"{result.objective}: {result.ended}", err=True)
    if stopped:
        raise SystemExit(130)
    if failed and is_main:
        if len(results) > 1:
            say_error(f"the score became NaN or infinite in {failed} of {len(results)} folders, see above")
        raise SystemExit(1)


def _to_open(results: Sequence[ObjectiveResult], out: Path) -> list[str]:
    """A line that names what to look at: the sheet, or how to make a page of several; none where nothing was drawn."""
    from usae_viz.export.sheet import SHEET

    sheets = [sheet for result in results if result.images and (sheet := result.folder / SHEET).is_file()]
    if not sheets:
        return []
    if len(sheets) == 1:
        return [f"to open: {sheets[0]}"]
    return [f"to open: the {SHEET} of each of its {len(sheets)} folders; usae-viz explore {out} makes one page of all"]
