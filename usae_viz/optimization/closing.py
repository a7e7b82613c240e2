"""What `uv.maximize` says when it is done: the verdicts, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usae_train.runtime.printing import plural

if TYPE_CHECKING:
    from usae_viz.optimization.result import Result


def said_line(result: Result) -> str:
    """What was drawn, and each picture's verdict.

    Where there are more than six pictures, how many have which.
    """
    if result.scores is None:
        return f"{result.title}: {', '.join(result.images)}, not verified: of no concept or class (see `verify`)"
    from usae_viz.verification.scores import counted
    from usae_viz.verification.tables import said

    if len(result.images) <= 6:
        verdicts = "; ".join(f"{image} {said(result.scores, image)}" for image in result.images)
    else:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted([result.scores]).items() if count)
    return f"{result.title}: {verdicts}"


def closing_lines(result: Result) -> list[str]:
    """The verdicts, and what to do next: keep the pictures, or where some are not strong, what may help."""
    keep = "in memory only: .save(FOLDER) keeps the pictures, .scores has all figures"
    return [said_line(result), *_advice(result), keep]


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
