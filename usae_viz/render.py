"""Drawing many concepts into one run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from usae_train.provenance import versions
from usae_train.usae import USAE
from usae_viz.concepts import caption
from usae_viz.maximization import Result, maximize_all
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
    write_json(out / "run.json", run_record(usae, concepts, runs))
    verified = {}
    for concept in concepts:
        results = []
        for settings in runs:
            stage = f"concept {concept} {settings.mode}" + (f" seed {settings.seed}" if len(runs) > 1 else "")
            results += maximize_all(usae, [Concept(concept)], settings, _steps(report, stage, settings.steps))
        verified[concept] = _write(usae, concept, results, out)
        done(verified[concept])
    return verified


def run_record(usae: USAE, concepts: Sequence[int], runs: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """What run.json holds: resolved settings, seeds, versions, the hash of the weights."""
    return {
        "concepts": list(concepts), "runs": [settings.model_dump(mode="json") for settings in runs],
        "usae": usae.source, "usae_sha256": usae.sha256, "versions": versions(),
    }  # fmt: skip


def _write(usae: USAE, concept: int, results: Sequence[Result], out: Path) -> Scores:
    images: dict[str, Tensor] = {}
    table: dict[str, Mapping[str, Score]] = {}
    seeds = {result.settings.seed for result in results}
    for result in results:
        assert result.scores is not None
        suffix = f"-seed-{result.settings.seed}" if len(seeds) > 1 else ""
        images |= {name + suffix: canvas for name, canvas in result.images.items()}
        table |= {name + suffix: result.scores[name] for name in result.images}
    scores = Scores(concept, table)
    about = {**results[0].record(), "settings": [result.settings.model_dump(mode="json") for result in results]}
    folder = out / results[0].folder
    write_concept(folder, caption(usae, concept), images, scores, natural_patches(usae, concept), about)
    return scores


def _steps(report: Report, stage: str, steps: int) -> Callable[[int, dict[str, float]], None]:
    def progress(done: int, scores: dict[str, float]) -> None:
        report(stage, done, steps, "  ".join(f"{name} {score:.2f}" for name, score in scores.items()))

    return progress
