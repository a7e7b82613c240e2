"""What the figures of answers, monosemanticity and classes come to, in lines for a terminal."""

from __future__ import annotations

import math
from typing import Any


def stands_for_lines(report: dict[str, Any]) -> list[str]:
    """What concepts stand for, as far as it was measured."""
    return [*answer_lines(report), *judge_lines(report), *class_lines(report)]


def answer_lines(report: dict[str, Any]) -> list[str]:
    """A line for each backbone with a classifier and whose codes it was given."""
    answers = report.get("answers")
    if not answers:
        return []
    found = []
    for name, own in answers["backbones"].items():
        what = "right" if own["by"] == "labels" else "as without it"
        by = "the labels" if own["by"] == "labels" else "its own answer to the whole picture, there being no labels"
        found.append(
            f"what {name} answers from reconstructed tokens alone (by {by}; of {own['images']} pictures; loss recovered "
            "against zeroed tokens, and against the mean token):"
        )
        found += [
            f"  codes of {source}: {_share(each['accuracy'])} {what}, loss recovered {_share(each['loss_recovered'])}, "
            f"{_share(each['loss_recovered_from_mean'])}"
            for source, each in own["from"].items()
        ]
        found += [
            f"  {kept}: {_share(own[key]['accuracy'])} {what}, cross-entropy {own[key]['cross_entropy']:.2f}"
            for key, kept in (("clean", "tokens as they are"), ("zero", "zeros"), ("mean", "the mean token"))
        ]
    return [*found, *(f"no answer asked: {why}" for why in answers["refused"].values())]


def judge_lines(report: dict[str, Any]) -> list[str]:
    """How alike the pictures of concepts are."""
    own = report.get("monosemanticity")
    if not own:
        return []
    judge, chance = own["judge"], own["chance"]
    found = [
        f"monosemanticity, judged by {judge['name']} ({judge['model']}, {judge['read']}); any two pictures {chance:.3f}:"
    ]
    return found + [
        f"  {name}: median {each['median']:.3f}, a tenth of the concepts above {each['ninetieth']:.3f}; "
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
        f"{len(own['stand_for_one'])} concepts stand for one class ({len(known)} of {len(own['classes'])} classes), "
        f"{len(own['shared'])} are shared by several; were the classes dealt out at random, {own['by_chance']} would "
        "stand for one"
    ]


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0%}"
