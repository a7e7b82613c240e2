"""Evaluation: one pass over pictures that were not trained on -> the figures of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from usae_train.images import DemoImages, ImageSource
from usae_train.metrics import DENSE, R2Sum, correlation, duplicates
from usae_train.provenance import versions
from usae_train.statistics import Statistics, auroc, measure
from usae_train.tokens import PairedTokens, collect_tokens
from usae_train.usae import USAE

SCHEMA = 1
RECOVERED = 0.9  # AUROC, in all backbones by the same concept
MOST = 1000  # the paper's: the most co-firing concepts
PAPER: dict[str, Any] = {
    "r2_diagonal": {"siglip": 0.61, "dino": 0.77, "vit": 0.59}, "co_firing_top_1000": {"siglip": 0.34, "dino": 0.27,
    "vit": 0.33}, "correlation": 0.63,
}  # fmt: skip  # Thasarathan et al. 2025, ImageNet
Progress = Callable[[str, int, int], None]  # stage, done, in all


@torch.no_grad()
def evaluate(
    usae: USAE, source: ImageSource, batch: int = 32, progress: Progress = lambda stage, done, total: None
) -> tuple[dict[str, Any], Statistics]:
    """Measure a USAE on pictures.

    Args:
        usae: with its backbones.
        source: pictures that it was not trained on.
        batch: pictures a forward pass.
        progress: called after each batch.

    Returns:
        The report's figures, ready for JSON, and the per-concept statistics on these pictures.

    Raises:
        ValueError: when no picture can be read.
    """
    assert usae.grid is not None
    paired = collect_tokens(
        usae.backbones, source, usae.grid, batch, progress=lambda done, total: progress("pictures", done, total)
    )  # fmt: skip
    statistics = measure(usae, paired)
    report: dict[str, Any] = {
        "schema": SCHEMA, "usae": usae.source, "usae_sha256": usae.sha256, "n_concepts": usae.n_concepts, "k": usae.k,
        "backbones": usae.names, "images": source.name, "fingerprint": source.fingerprint(),
        "n_images": len(paired.numbers), "unreadable": paired.failures, "versions": versions(),
        "r2": r2_matrix(usae, paired), **concept_figures(usae, statistics),
    }  # fmt: skip
    report["r2_summary"] = r2_summary(report["r2"])
    if isinstance(source, DemoImages):
        report["truth"], statistics = truth_figures(usae, source, paired, statistics)
    report["reference"] = PAPER if set(usae.names) == set(PAPER["r2_diagonal"]) and not report.get("truth") else None
    report["warnings"] = warnings(report)
    return report, statistics


def r2_matrix(usae: USAE, paired: PairedTokens, chunk: int = 64) -> dict[str, dict[str, float]]:
    """R² of every backbone's codes decoded by every dictionary, {from: {to: R²}}, in raw units."""
    sums = {source: {target: R2Sum() for target in usae.names} for source in usae.names}
    for start in range(0, len(paired.numbers), chunk):
        tokens = {name: own[start : start + chunk].flatten(0, 1).float() for name, own in paired.tokens.items()}
        for source, own in tokens.items():
            codes = usae.encode(source, own)
            for target, wanted in tokens.items():
                sums[source][target].add(wanted, usae.decode(target, codes))
    return {source: {target: each.value for target, each in row.items()} for source, row in sums.items()}


def r2_summary(matrix: dict[str, dict[str, float]]) -> dict[str, float | None]:
    """Means on and off the diagonal, and their ratio; None off it with a single backbone."""
    own = [row[source] for source, row in matrix.items()]
    cross = [value for source, row in matrix.items() for target, value in row.items() if target != source]
    diagonal = sum(own) / len(own)
    if not cross:
        return {"diagonal": diagonal, "off_diagonal": None, "ratio": None}
    return {"diagonal": diagonal, "off_diagonal": sum(cross) / len(cross), "ratio": sum(cross) / len(cross) / diagonal}


def concept_figures(usae: USAE, statistics: Statistics) -> dict[str, Any]:
    """Firing entropy, co-firing, energy, dead, dense and duplicate concepts."""
    alive = statistics.fires.amax(0) > 0
    entropy = statistics.firing_entropy[alive]
    energy = statistics.energy.mean(0)
    order = statistics.co_fires.argsort(descending=True)[:MOST]
    twins = duplicates([usae.dictionary(name).cpu() for name in usae.names])
    several = len(usae.names) > 1
    fired = alive & (energy > 0) & (statistics.co_fires > 0)
    logs = statistics.co_fires[fired].float().log(), energy[fired].log()
    figures: dict[str, Any] = {
        "dead": int((~alive).sum()), "dense": (statistics.firing_share.amax(0) > DENSE).nonzero().squeeze(1).tolist(),
        "duplicates": twins,
        "entropy": {
            "mean": entropy.mean().item() if several else None,
            "histogram": torch.histc(entropy.nan_to_num(0.0), 20, 0, 1).int().tolist() if several else None,
        },
        "co_firing_top_1000": {
            name: statistics.co_firing[row, order].mean().item() for row, name in enumerate(usae.names)
        } if several else None,
        "co_fires_energy": {
            "r": correlation(statistics.co_fires.float(), energy), "r_of_logs": correlation(*logs),
            "co_fires": statistics.co_fires.tolist(), "energy": energy.tolist(),
        },
        "firing_share": {name: statistics.firing_share[row].tolist() for row, name in enumerate(usae.names)},
    }  # fmt: skip
    return figures


def truth_figures(
    usae: USAE, source: DemoImages, paired: PairedTokens, statistics: Statistics
) -> tuple[dict[str, Any], Statistics]:
    """Where the truth is known: which factor values have a concept, and do concepts follow one-factor flips?"""
    from usae_train.demo.build import FACTOR_VALUES, factor_auroc, factor_truth
    from usae_train.demo.flips import flips

    assert usae.grid is not None
    areas = factor_auroc(usae, paired, factor_truth(source, paired.numbers, usae.grid))
    best, concept = areas.amin(0).nan_to_num(0.0).max(1)  # over backbones, then concepts
    values: dict[str, dict[str, Any]] = {
        value: {"concept": int(concept[row]), "auroc": best[row].item(), "recovered": bool(best[row] >= RECOVERED)}
        for row, value in enumerate(FACTOR_VALUES) if not value.endswith("background")
    }  # fmt: skip
    share: dict[str, float] = {}
    for factor in dict.fromkeys(value.partition(":")[0] for value in values):
        own = [each["recovered"] for value, each in values.items() if value.startswith(factor)]
        share[factor] = sum(own) / len(own)
    followed = flips(usae, {value: each["concept"] for value, each in values.items()})
    figures = {"values": values, "recovered": share, "flips": followed, "shifts": shifts(usae, source, values)}
    return figures, type(statistics)(**{**vars(statistics), "auroc": areas})


def shifts(usae: USAE, source: DemoImages, values: dict[str, Any], scenes: int = 200) -> dict[str, dict[str, float]]:
    """What holds when the scenes look otherwise: off-diagonal R², and the mean AUROC of the values' own concepts."""
    from kornia.filters import gaussian_blur2d

    from usae_train.demo.build import FACTOR_VALUES, factor_truth

    assert usae.grid is not None
    size = max(backbone.input_size for backbone in usae.backbones.values())
    numbers = torch.arange(min(scenes, len(source)))
    canvases = torch.stack([source.read(n, size) for n in numbers.tolist()])
    truth = factor_truth(source, numbers, usae.grid)
    generator = torch.Generator().manual_seed(0)
    looks: dict[str, Tensor] = {
        "as they are": canvases,
        "noise 0.1": (canvases + 0.1 * torch.randn(canvases.shape, generator=generator)).clamp(0, 1),
        "blur 1.5 px": gaussian_blur2d(canvases, (9, 9), (1.5, 1.5)),
        "darker (x 0.6)": canvases * 0.6,
        "channels turned (another palette)": canvases.roll(1, dims=1),
    }
    rows = [FACTOR_VALUES.index(value) for value in values]
    concepts = torch.tensor([each["concept"] for each in values.values()])
    kinds = [value.partition(":")[0] for value in values]
    found: dict[str, dict[str, float]] = {}
    for look, shown in looks.items():
        tokens = {n: torch.cat([usae.tokens(n, part) for part in shown.split(32)]) for n in usae.names}
        paired = PairedTokens(tokens, numbers)
        off = r2_summary(r2_matrix(usae, paired))["off_diagonal"]
        areas = []
        for name, own in paired.flat().items():
            codes = usae.encode(name, own.float()).dense(usae.n_concepts)[:, concepts]
            areas.append(auroc(codes, truth[:, rows]).diagonal())
        mean = torch.stack(areas).amin(0)
        found[look] = {"r2_off_diagonal": float("nan") if off is None else off}
        for kind in dict.fromkeys(kinds):
            own_values = [i for i, each in enumerate(kinds) if each == kind]
            found[look][f"auroc_{kind}"] = mean[own_values].nanmean().item()
    return found


def warnings(report: dict[str, Any]) -> list[str]:
    """What is bad, in plain words."""
    found: list[str] = []
    n_concepts, summary = report["n_concepts"], report["r2_summary"]
    if len(report["backbones"]) < 2:
        found.append("One backbone: figures across models need two.")
    for name, row in report["r2"].items():
        if row[name] < 0.3:
            found.append(f"{name} explains only R² {row[name]:.2f} of its own tokens: noise, or too few steps?")
        others = [other for other in report["r2"] if other != name]
        shared = [value for other in others for value in (row[other], report["r2"][other][name])]
        if shared and max(shared) < 0.2:
            found.append(f"{name} shares hardly anything: R² from and to the others is at most {max(shared):.2f}.")
    if summary["ratio"] is not None and summary["ratio"] < 0.5:
        found.append(f"Across backbones R² is only {summary['ratio']:.0%} of what it is within one: little is shared.")
    if report["dead"] > 0.05 * n_concepts:
        found.append(f"{report['dead']} of {n_concepts} concepts never fire on these pictures.")
    if len(report["dense"]) > 0.05 * n_concepts:
        found.append(f"{len(report['dense'])} concepts fire on more than {DENSE:.0%} of a backbone's tokens.")
    if report["n_images"] < 1000:
        found.append(f"{report['n_images']} pictures: the 99.9th percentile stands for fewer than one of them.")
    return found
