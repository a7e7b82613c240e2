"""What is wrong with a USAE, in words, from the figures of its report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from usae_train.evaluation.metrics import DENSE_SHARE
from usae_train.evaluation.report_form import Report
from usae_train.model.statistics import images_needed
from usae_train.runtime.printing import plural

LOW_R2 = 0.3  # R² of a backbone's own tokens below which something is wrong (the paper's lowest: 0.59)
# The following are our choices: what a reader should check, not limits from a source.
LOW_CROSS_R2 = 0.2  # largest R² from and to the others below which a backbone shares hardly anything
LOW_STABILITY = 0.8  # matched cosine over seeds below which concepts are not stable
MAX_BAD_SHARE = 0.05  # share of the concepts that may be dead, dense or duplicates


def warnings(report: Report) -> list[str]:
    """What is wrong, worst first."""
    lines = [*_sharing(report), *_concepts(report), *_comparisons(report)]
    missing = [level for level in report["quantiles_missing"] if level < 1]
    if missing:
        quantiles = ", ".join(f"{100 * level:g}% (needs {images_needed(level)})" for level in missing)
        lines.append(f"{report['n_images']} pictures are too few for these quantiles, which are left out: {quantiles}.")
    if report.get("unreadable"):
        lines.append(f"{plural(len(report['unreadable']), 'picture')} could not be read: {report['unreadable'][0]}")
    if "truth" in report and (unseen := report["truth"]["unseen"]):
        lines.append(
            f"{report['n_images']} scenes have no patches of these values, which are left out: {', '.join(unseen)}."
        )
    return lines


def _sharing(report: Report) -> Iterator[str]:
    summary = report["r2_summary"]
    if len(report["backbones"]) < 2:
        yield "One backbone: cross-model figures need two."
    for name, row in report["r2"].items():
        others = [other for other in report["r2"] if other != name]
        across = [value for other in others for value in (row[other], report["r2"][other][name])]
        shared = [value for value in across if not math.isnan(value)]
        if shared and max(shared) < LOW_CROSS_R2:
            yield f"{name} shares hardly anything: R² from and to the others is at most {max(shared):.2f}."
        if math.isnan(row[name]):
            yield f"{name} sees the same in every patch of these pictures: there is nothing to explain."
        elif row[name] < LOW_R2:
            yield f"{name} explains only R² {row[name]:.2f} of its own tokens: noise, or too few steps?"
    if summary["ratio"] is not None and summary["ratio"] < 0.5:
        yield f"Across backbones R² is only {summary['ratio']:.0%} of what it is within one: little is shared."


def _concepts(report: Report) -> Iterator[str]:
    n_concepts, peak = report["n_concepts"], report["entropy"]["peak"]
    for name, count in report["dead"].items():
        has = n_concepts - sum(
            end - first for owner, (first, end) in report.get("private", {}).items() if owner != name
        )
        if count > MAX_BAD_SHARE * has:
            yield (
                f"{name} uses {1 - count / has:.0%} of the concepts: the other {count} never fire through it on "
                "these pictures."
            )
    if len(report["dense"]) > MAX_BAD_SHARE * n_concepts:
        yield f"{len(report['dense'])} concepts fire on more than {DENSE_SHARE:.0%} of a backbone's tokens."
    if len(report["duplicates"]) > MAX_BAD_SHARE * n_concepts:
        yield f"{len(report['duplicates'])} pairs of concepts are duplicates in every backbone."
    if peak is not None and peak < 0.5:
        yield "Most concepts fire in few of the backbones: the space is not a shared one."


def _comparisons(report: Report) -> Iterator[str]:
    posthoc = report.get("posthoc")
    if posthoc is None and report.get("independent") and len(report["backbones"]) > 1:
        yield "Independent SAEs are aligned on half of the pictures and measured on the other: one is empty."
    if posthoc:
        aligned, joint = posthoc["r2_summary"]["off_diagonal"], posthoc["joint_r2_summary"]["off_diagonal"]
        assert aligned is not None  # of several backbones
        assert joint is not None
        if aligned >= joint:
            more = f"Independent SAEs aligned afterwards share more (R² {aligned:.2f})"
            yield f"{more} than the joint space ({joint:.2f})."
    if "stability" in report and report["stability"]["mean"] < LOW_STABILITY:
        yield f"Other fits find other concepts: their matched cosine is {report['stability']['mean']:.2f}."


def headline(report: Report) -> str:
    """The first thing to know, in one line."""
    summary, posthoc = report["r2_summary"], report.get("posthoc")
    line = f"R² around each feature's mean: on the diagonal {summary['diagonal']:.3f}"
    if summary["ratio"] is not None:
        line += f", off it {summary['off_diagonal']:.3f} ({summary['ratio']:.0%})"
    if posthoc:
        line += f"; independent SAEs aligned afterwards {posthoc['r2_summary']['off_diagonal']:.3f}"
    return line


def ceiling_lines(report: Report) -> list[str]:
    """R² of every two backbones beside that of a dense linear map, and the share of it that the space reaches."""
    ceiling = report.get("ceiling")
    if not ceiling:
        return []
    reached = _reached(ceiling["mean_share"], "; the space reaches {:.0%} of it")
    lines = [f"a dense linear map from one backbone's tokens to another's: R² {ceiling['mean']:.3f}{reached}"]
    for source, row in ceiling["r2"].items():
        for target, linear in row.items():
            share = _reached(ceiling["share"][source][target], " ({:.0%})")
            lines.append(f"  {source} -> {target}: R² {report['r2'][source][target]:.3f} of {linear:.3f}{share}")
    return lines + [f"  {why}" for why in why_above_the_map(report)]


def why_above_the_map(report: Report) -> list[str]:
    """Why a space can exceed the linear map, in a line; empty where it never does."""
    ceiling = report.get("ceiling")
    if not ceiling:
        return []
    shares = [ceiling["mean_share"], *(share for row in ceiling["share"].values() for share in row.values())]
    if not any(share is not None and share > 1 for share in shares):  # report.json has None for NaN
        return []
    half = plural(math.ceil(report["n_images"] / 2), "picture")
    return [f"above 100%: the linear map was fitted on few pictures ({half}); evaluate on more"]


def _reached(share: float | None, words: str) -> str:
    """A share in words; empty where the linear map itself explains nothing."""
    return "" if share is None or math.isnan(share) else words.format(share)
