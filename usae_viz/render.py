"""Drawing many objectives into one run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from usae_train.atomic import check_writable
from usae_train.usae import USAE
from usae_viz.maximization import check_objectives, eyes_for, maximize_each, resolved
from usae_viz.objectives import Objective
from usae_viz.outputs import write_concept, write_frames, write_json
from usae_viz.result import Result, folder_of, run_record
from usae_viz.scores import Scores
from usae_viz.settings import MaximizeSettings

Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Drawn:
    """One objective's folder in a run."""

    objective: Objective
    folder: Path
    images: tuple[str, ...]
    scores: Scores | None  # of all its pictures
    ended: str | None  # why one of its optimizations ended early
    cut_short: bool  # whether Ctrl-C or a score that was not finite ended one
    failed: bool  # whether it was the score


def render(
    usae: USAE, objectives: Sequence[Objective], runs: Sequence[MaximizeSettings], out: Path,
    report: Report = lambda stage, done, total, note: None, done: Callable[[Drawn], None] = lambda drawn: None,
    animation: str = "gif",
) -> list[Drawn]:  # fmt: skip
    """Draw every objective with every run's settings; write run.json and one folder an objective.

    After an optimization that was stopped by hand or whose score was not finite, what is there is written and no more
    is begun.

    Args:
        usae: the USAE.
        objectives: what to draw.
        runs: settings, which differ in mode and seed only.
        out: the run's folder.
        report: called with the stage, steps done of all, and the scores in words.
        done: called with each objective as it is written.
        animation: `gif` or `mp4`, for settings with snapshots.
    """
    check_objectives(usae, objectives)
    check_writable(out / "run.json")
    runs = [resolved(usae, settings) for settings in runs]
    written: list[Drawn] = []
    folders = folders_of(objectives)
    at_once = min(eyes_for(usae, settings).at_once for settings in runs)
    for first in range(0, len(objectives), at_once):
        pack = objectives[first : first + at_once]
        results: list[Result] = []
        for settings in runs:
            stage = _stage(pack, settings, len({run.seed for run in runs}) > 1)
            results += maximize_each(usae, pack, settings, _steps(report, stage, settings.steps))
            if any(result.cut_short for result in results):
                break
        write_json(out / "run.json", run_record(usae, objectives, runs))
        for objective in pack:
            if own := [result for result in results if result.objective is objective]:
                written.append(_write(own, out / folders[objective], animation))
                done(written[-1])
        if any(result.cut_short for result in results):
            break
    return written


def folders_of(objectives: Sequence[Objective]) -> dict[Objective, str]:
    """A folder each; where the words are the same (`a + b` and `a * b`), later ones get a number."""
    folders: dict[Objective, str] = {}
    for objective in objectives:
        name, number = folder_of(objective), 1
        while name in folders.values():
            number += 1
            name = f"{folder_of(objective)}-{number}"
        folders[objective] = name
    return folders


def _write(results: Sequence[Result], folder: Path, animation: str) -> Drawn:
    """Put the pictures of several runs of one objective into one folder."""
    several_seeds = len({result.settings.seed for result in results}) > 1
    several_modes = len({result.settings.mode for result in results}) > 1
    images, about, alpha, table, drawn_for, signatures = {}, {}, {}, {}, {}, {}
    first = results[0]
    for result in results:
        for name, canvas in result.images.items():
            image = f"{result.settings.mode}-{name}" if several_modes and result.settings.mode == "coupled" else name
            image = f"{image}-seed-{result.settings.seed}" if several_seeds else image
            images[image], about[image] = canvas, result.about(image)
            if result.settings.alpha:
                alpha[image] = result.alpha[name]
            if result.frames:
                write_frames(folder / f"{image}.{animation}", result.frames[name])
            if result.scores is not None:
                table[image], drawn_for[image] = result.scores[name], result.scores.drawn_for[name]
                signatures[image] = result.scores.signatures[name]
    scores = Scores(first.scores.concept, table, drawn_for, signatures) if first.scores is not None else None
    write_concept(folder, first.title, images, scores, first.patches(), about, alpha, first.given)
    ended = next((result.ended for result in results if result.ended is not None), None)
    cut_short, failed = (any(getattr(result, kind) for result in results) for kind in ("cut_short", "failed"))
    return Drawn(first.objective, folder, tuple(images), scores, ended, cut_short, failed)


def _stage(pack: Sequence[Objective], settings: MaximizeSettings, several_seeds: bool) -> str:
    what = str(pack[0]) if len(pack) == 1 else f"{len(pack)} objectives"
    what = what if len(what) <= 40 else what[:37] + "..."
    return f"{what} {settings.mode}" + (f" seed {settings.seed}" if several_seeds else "")


def _steps(report: Report, stage: str, steps: int) -> Callable[[int, dict[str, float]], None]:
    def progress(done: int, scores: dict[str, float]) -> None:
        report(stage, done, steps, "  ".join(f"{name} {score:.2f}" for name, score in scores.items()))

    return progress
