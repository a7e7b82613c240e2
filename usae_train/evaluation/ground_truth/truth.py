"""Where the truth is known: which factor values have a concept, and what still works when scenes change?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.ground_truth.flips import factors_to_flip, flips_of
from usae_train.evaluation.ground_truth.shifts import SHIFTS, figures_under
from usae_train.evaluation.report_form import RecoveredValue, TruthFigures
from usae_train.images.sources import DemoImages
from usae_train.model.sparse import Codes
from usae_train.model.statistics import auroc
from usae_train.model.usae import USAE
from usae_train.runtime.progress import StageCallback
from usae_train.runtime.workers import Job, Workers
from usae_train.scenes.factors import FACTOR_VALUES, patch_truth
from usae_train.scenes.world import SIZE

RECOVERED_AUROC = 0.9  # AUROC, in all backbones by the same concept
PAIRS = 200  # pairs of scenes per factor, for flips; fewer where there are fewer scenes
SCENES_PER_JOB = 64  # scenes whose truth is computed at once
CONCEPT_CHUNK_SIZE = 256  # concepts per dense tokens x concepts matrix


def truth_figures(
    usae: USAE,
    source: DemoImages,
    numbers: Tensor,
    codes: Mapping[str, Codes],
    progress: StageCallback = lambda stage, done, total: None,
    workers: int = 1,
) -> tuple[TruthFigures, Tensor]:
    """The figures that need the truth.

    Args:
        usae: the model.
        source: the scenes.
        numbers: (scene,) which of them were measured.
        codes: {backbone: codes (scene * token, k)}.
        progress: called with the stage.
        workers: processes that share the work.

    Returns:
        The figures, and the AUROC of every concept (backbones, factor values, concepts).
    """
    assert usae.grid is not None
    progress("truth", 0, 3)
    areas = codes_auroc(codes, usae.n_concepts, factor_truth(source, numbers, usae.grid, workers), workers)
    values = recovery(areas)
    progress("truth", 1, 3)
    concept_of = {value: each["concept"] for value, each in values.items()}
    pairs = min(PAIRS, len(numbers))
    names = [*factors_to_flip(concept_of), *SHIFTS]

    def job(name: str) -> Job[dict[str, Any]]:
        if name in SHIFTS:
            return lambda report: figures_under(usae, source, SHIFTS[name], concept_of)
        return lambda report: flips_of(usae, name, concept_of, pairs)

    results = dict[str, dict[str, Any]]()
    with Workers([job(name) for name in names], workers, handles_ctrl_c=False) as working:
        for number, (name, result) in enumerate(zip(names, working.results(), strict=True)):
            results[name] = result
            progress("truth", 1 + number // len(SHIFTS), 3)
    progress("truth", 3, 3)
    return {
        "factors": FACTOR_VALUES,
        "values": values,
        "unseen": values_without_auroc(areas),
        "recovered": recovered_share(values),
        "flips": {name: share for name, share in results.items() if name not in SHIFTS},
        "shifts": {name: figures for name, figures in results.items() if name in SHIFTS},
    }, areas


def factor_truth(source: DemoImages, numbers: Tensor, grid: tuple[int, int], workers: int = 1) -> Tensor:
    """(image * token, factor values) bool: whether a value covers more than half of a patch."""

    def truth(number: int) -> Tensor:
        return patch_truth({factor: value[None] for factor, value in source.labels(number, SIZE).items()}, grid)[0]

    def job(scenes: Tensor) -> Job[Tensor]:
        return lambda report: torch.cat([truth(number) for number in scenes.tolist()])

    with Workers([job(scenes) for scenes in numbers.split(SCENES_PER_JOB)], workers, handles_ctrl_c=False) as working:
        return torch.cat(list(working.results()))


def codes_auroc(codes: Mapping[str, Codes], n_concepts: int, truth: Tensor, workers: int = 1) -> Tensor:
    """(backbones, values, concepts): AUROC of every concept's code against every label, some concepts at a time."""

    def job(coded: Codes) -> Job[Tensor]:
        return lambda report: _auroc_of(coded, n_concepts, truth)

    with Workers([job(coded) for coded in codes.values()], workers, handles_ctrl_c=False) as working:
        return torch.stack(list(working.results()))


def _auroc_of(coded: Codes, n_concepts: int, truth: Tensor) -> Tensor:
    """(values, concepts), of one backbone's codes."""
    parts = []
    for first in range(0, n_concepts, CONCEPT_CHUNK_SIZE):
        last = min(first + CONCEPT_CHUNK_SIZE, n_concepts)
        inside = (coded.indices >= first) & (coded.indices < last)
        codes = Codes(coded.values * inside, (coded.indices - first).clamp(0, last - first - 1))
        dense = coded.values.new_zeros(len(coded.values), last - first)
        parts.append(auroc(dense.scatter_add_(1, codes.indices, codes.values), truth))
    return torch.cat(parts, 1)


def recovery(areas: Tensor) -> dict[str, RecoveredValue]:
    """Each value's best concept, the same for all backbones, by its smallest AUROC (backbones, values, concepts).

    A value that no patch has, or every patch, has no AUROC, and is left out.
    """
    best, concept = areas.amin(0).max(1)
    return {
        value: {
            "concept": int(concept[row]),
            "auroc": best[row].item(),
            "recovered": bool(best[row] >= RECOVERED_AUROC),
        }
        for row, value in enumerate(FACTOR_VALUES)
        if not (value.endswith("background") or value in values_without_auroc(areas))
    }


def values_without_auroc(areas: Tensor) -> list[str]:
    """The values without AUROC (backbones, values, concepts): of the scenes' patches none has them, or all have."""
    missing = areas.isnan().all(0).all(1)
    return [value for value, gone in zip(FACTOR_VALUES, missing.tolist(), strict=True) if gone]


def recovered_share(values: Mapping[str, RecoveredValue]) -> dict[str, float]:
    """{factor: share of its values that have a concept}."""
    share: dict[str, float] = {}
    for factor in dict.fromkeys(value.partition(":")[0] for value in values):
        recovered = [each["recovered"] for value, each in values.items() if value.startswith(factor)]
        share[factor] = sum(recovered) / len(recovered)
    return share
