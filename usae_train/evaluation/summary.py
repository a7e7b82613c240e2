"""The figures of answers, monosemanticity and classes, in lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.table import Table

from usae_train.evaluation.answers import LABELS, OWN_ANSWER
from usae_train.evaluation.report_form import ByName, Report
from usae_train.runtime.printing import as_text


def answers_table(report: Report) -> Table | None:
    """What classifiers answer from reconstructed tokens; None where none was used."""
    answers = report.get("answers")
    if not answers or not answers["backbones"]:
        return None
    by = {figures["by"] for figures in answers["backbones"].values()}
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left", caption=as_text("; ".join(_caption(by)))
    )
    for heading in ("answers of", "patch tokens"):
        table.add_column(heading, no_wrap=True)
    for heading in ("right", "of it left", "loss", "recovered", "from mean"):
        table.add_column(heading, justify="right")
    for name, figures in answers["backbones"].items():
        by_codes = [(answer, f"codes of {source}") for source, answer in figures["from"].items()]
        rows = [
            (figures["clean"], "as they are"),
            *by_codes,
            (figures["zero"], "zeros"),
            (figures["mean"], "the mean token"),
        ]
        for number, (answer, what) in enumerate(rows):
            table.add_row(as_text("" if number else name), as_text(what), *_cells(answer))
        table.add_section()
    return table


def _caption(by: set[str]) -> Iterator[str]:
    if OWN_ANSWER in by:
        yield "right: as the backbone itself answers to the picture as it is, there being no labels of its classes"
    if LABELS in by:
        yield "right: by the labels"
    yield (
        "loss: cross-entropy L; recovered: (L0 - L) / (L0 - L of tokens as they are), L0 with zeros, from mean with "
        "the mean token"
    )


def _cells(answer: ByName) -> list[str]:
    shares = (answer.get(key) for key in ("accuracy_share", "loss_recovered", "loss_recovered_from_mean"))
    left, recovered, from_mean = ("" if value is None else _in_percent(value) for value in shares)
    return [_in_percent(answer["accuracy"]), left, f"{answer['cross_entropy']:.2f}", recovered, from_mean]


def refused_lines(report: Report) -> list[str]:
    """Why some backbones' answers are missing, where others' are there or were requested."""
    return [f"no answers of {why}" for why in report["answers"]["refused"].values()] if "answers" in report else []


def judge_lines(report: Report) -> list[str]:
    """How alike the pictures of concepts are."""
    if "monosemanticity" not in report:
        return []
    figures = report["monosemanticity"]
    judge, chance = figures["judge"], figures["chance"]
    who = f"{judge['name']} ({judge['model']}, {judge['read']})"
    return [f"monosemanticity, judged by {who}; any two pictures {chance:.3f}:"] + [
        f"  {name}: median {_decimal(scores['median'])}, a tenth of the concepts above "
        f"{_decimal(scores['ninetieth'])}; {_in_percent(scores['above_chance'])} of {scores['concepts']} above chance"
        for name, scores in figures["backbones"].items()
    ]


def class_lines(report: Report) -> list[str]:
    """How many concepts stand for classes."""
    if "classes" not in report:
        return []
    figures = report["classes"]
    represented = {name for standing in figures["stand_for_one"] for name in standing["classes"]}
    return [
        f"concepts that stand for one class: {len(figures['stand_for_one'])}, of {len(represented)} of "
        f"{len(figures['classes'])} classes; shared by several: {len(figures['shared'])}; with classes assigned "
        f"at random: {figures['by_chance']}"
    ]


def _in_percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0%}"


def _decimal(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
