"""What the figures of answers, monosemanticity and classes come to, in lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

from usae_train.evaluation.answers import LABELS, OWN_ANSWER
from usae_train.runtime.printing import as_text


def stands_for_lines(report: dict[str, Any]) -> list[str]:
    """What concepts stand for, as far as it was measured."""
    return [*judge_lines(report), *class_lines(report)]


def answers_table(report: dict[str, Any]) -> Table | None:
    """What classifiers answer from reconstructed tokens; None where none was asked."""
    answers = report.get("answers")
    if not answers or not answers["backbones"]:
        return None
    by = {own["by"] for own in answers["backbones"].values()}
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left", caption=as_text("; ".join(_caption(by)))
    )
    for heading in ("answers of", "patch tokens"):
        table.add_column(heading, no_wrap=True)
    for heading in ("right", "of it left", "loss", "recovered", "from mean"):
        table.add_column(heading, justify="right")
    for name, own in answers["backbones"].items():
        given = [(each, f"codes of {source}") for source, each in own["from"].items()]
        rows = [(own["clean"], "as they are"), *given, (own["zero"], "zeros"), (own["mean"], "the mean token")]
        for number, (each, what) in enumerate(rows):
            table.add_row(as_text("" if number else name), as_text(what), *_cells(each))
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


def _cells(each: dict[str, Any]) -> list[str]:
    shares = (each.get(key) for key in ("accuracy_share", "loss_recovered", "loss_recovered_from_mean"))
    left, recovered, from_mean = ("" if value is None else _share(value) for value in shares)
    return [_share(each["accuracy"]), left, f"{each['cross_entropy']:.2f}", recovered, from_mean]


def refused_lines(report: dict[str, Any]) -> list[str]:
    """Why some backbones' answers were not asked, where others' were, or it was asked for."""
    answers = report.get("answers") or {"refused": {}}
    return [f"no answers of {why}" for why in answers["refused"].values()]


def judge_lines(report: dict[str, Any]) -> list[str]:
    """How alike the pictures of concepts are."""
    own = report.get("monosemanticity")
    if not own:
        return []
    judge, chance = own["judge"], own["chance"]
    who = f"{judge['name']} ({judge['model']}, {judge['read']})"
    found = [f"monosemanticity, judged by {who}; any two pictures {chance:.3f}:"]
    return found + [
        f"  {name}: median {_figure(each['median'])}, a tenth of the concepts above {_figure(each['ninetieth'])}; "
        f"{_share(each['above_chance'])} of {each['concepts']} above chance"
        for name, each in own["backbones"].items()
    ]


def class_lines(report: dict[str, Any]) -> list[str]:
    """How many concepts stand for classes."""
    own = report.get("classes")
    if not own:
        return []
    known = {name for each in own["stand_for_one"] for name in each["classes"]}
    return [
        f"concepts that stand for one class: {len(own['stand_for_one'])}, of {len(known)} of {len(own['classes'])} "
        f"classes; shared by several: {len(own['shared'])}; were the classes dealt out at random: {own['by_chance']}"
    ]


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0%}"


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
