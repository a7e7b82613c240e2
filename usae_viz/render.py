"""Drawing many concepts into one run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from usae_train.atomic import check_writable
from usae_train.usae import USAE
from usae_viz.concepts import caption
from usae_viz.maximization import Result, maximize_all, resolved, run_record
from usae_viz.objectives import Concept
from usae_viz.outputs import natural_patches, write_concept, write_json
from usae_viz.settings import MaximizeSettings
from usae_viz.verify import Score, Scores

Report = Callable[[str, int, int, str], None]


def render(
    usae: USAE, concepts: Sequence[int], runs: Sequence[MaximizeSettings], out: Path,
    report: Report = lambda stage, done, total, note: None, done: Callable[[Scores], None] = lambda scores: None,
) -> dict[int, Scores]:  # fmt: skip
    """Draw every concept with every run's settings; write run.json and one folder a concept.

    Args:
        usae: the USAE.
        concepts: indices.
        runs: settings, which differ in mode and seed only.
        out: the run's folder.
        report: called with the stage, steps done of all, and the scores in words.
        done: called with the verification of each concept as it is written.

    Returns:
        {concept: its verification}.
    """
    check_writable(out / "run.json")
    runs = [resolved(usae, settings) for settings in runs]
    objectives = [Concept(concept) for concept in concepts]
    verified = {}
    for objective in objectives:
        (concept,) = objective.concepts
        results = []
        for settings in runs:
            stage = f"concept {concept} {settings.mode}" + (f" seed {settings.seed}" if len(runs) > 1 else "")
            results += maximize_all(usae, [objective], settings, _steps(report, stage, settings.steps))
        write_json(out / "run.json", run_record(usae, objectives, runs))
        verified[concept] = _write(usae, concept, results, out)
        done(verified[concept])
    return verified


def _write(usae: USAE, concept: int, results: Sequence[Result], out: Path) -> Scores:
    """Put the pictures of several runs into one concept's folder."""
    images: dict[str, Tensor] = {}
    about: dict[str, dict[str, Any]] = {}
    table: dict[str, Mapping[str, Score]] = {}
    drawn_for: dict[str, str | None] = {}
    several_seeds = len({result.settings.seed for result in results}) > 1
    for result in results:
        assert result.scores is not None
        for name, canvas in result.images.items():
            image = f"{name}-seed-{result.settings.seed}" if several_seeds else name
            images[image], about[image] = canvas, result.about(image)
            table[image], drawn_for[image] = result.scores[name], result.scores.drawn_for[name]
    scores = Scores(concept, table, drawn_for)
    patches = natural_patches(usae, concept)
    write_concept(out / results[0].folder, caption(usae, concept), images, scores, patches, about)
    return scores


def _steps(report: Report, stage: str, steps: int) -> Callable[[int, dict[str, float]], None]:
    def progress(done: int, scores: dict[str, float]) -> None:
        report(stage, done, steps, "  ".join(f"{name} {score:.2f}" for name, score in scores.items()))

    return progress
