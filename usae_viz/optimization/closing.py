"""What `uv.maximize` says when it is done: the verdicts, and what to do next."""

from __future__ import annotations

from usae_train.runtime.printing import plural
from usae_viz.optimization.result import Result, summary_line


def closing_lines(result: Result) -> list[str]:
    """The verdicts, and what to do next: keep the pictures, or where some are not strong, what may help."""
    keep = "in memory only: .save(FOLDER) keeps the pictures, .scores has all figures"
    return [summary_line(result), *_advice(result), keep]


def _advice(result: Result) -> list[str]:
    scores = result.scores
    if scores is None or all(scores.verdict(image) == "strong" for image in result.images):
        return []
    doubtful = sum(scores.verdict(image) != "strong" for image in result.images)
    more = f"more steps (steps={2 * result.settings.steps})"
    are = "is" if doubtful == 1 else "are"
    return [
        f"{plural(doubtful, 'picture')} {are} not to be believed yet: {more} or other views may help; "
        "a concept that hardly fires (uv.concept_table(usae)) has nothing to show"
    ]
