"""Evaluation: one pass over pictures that were not trained on -> the figures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import combinations
from typing import Any

import torch

from usae_train.backbones.spec import PAPER
from usae_train.evaluation.answers import Answers, check_answers
from usae_train.evaluation.ceiling import ceiling_figures
from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.class_figures import class_figures
from usae_train.evaluation.evaluation_pass import PassSettings, PassState, run_pass
from usae_train.evaluation.ground_truth.truth import truth_figures
from usae_train.evaluation.independent import MAX_COFIRING, consistency, load_independent
from usae_train.evaluation.judging import Judge, monosemanticity_figures, open_judge
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import (
    DENSE_SHARE,
    Matrix,
    Reconstruction,
    correlation,
    duplicates,
    matched_cosine,
    r2_summary,
)
from usae_train.evaluation.picture_embeddings import PictureEmbeddings
from usae_train.evaluation.posthoc import PostHoc
from usae_train.evaluation.report_form import (
    Figures,
    PictureFigures,
    PosthocFigures,
    Report,
    StabilityFigures,
)
from usae_train.evaluation.settings import EvaluateSettings
from usae_train.evaluation.verdict import warnings
from usae_train.files.provenance import versions
from usae_train.images.classes import ImageClasses, classes_or_none
from usae_train.images.sources import DemoImages, ImageSource, none_can_be_read
from usae_train.model.checkpoint import load
from usae_train.model.firing import ENCODING_BATCH_SIZE, dead_counts
from usae_train.model.scale import STD_EPSILON
from usae_train.model.statistics import LEVELS, Statistics, images_needed
from usae_train.model.usae import USAE
from usae_train.runtime.capacity import BLOCK_NUMBERS, workers_for
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import StageCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.paired import TokenSource, stream_tokens

EVALUATE_DEFAULTS = EvaluateSettings()
REPORT_SCHEMA = 2  # 1 had one count of dead concepts over all backbones, and no ceiling
REFERENCE: dict[str, Any] = {
    "r2_diagonal": {"siglip": 0.61, "dino": 0.77, "vit": 0.59},
    "r2_independent": {"siglip": 0.7, "dino": 0.8, "vit": 0.7},  # "about"
    "co_firing_top_1000": {"siglip": 0.34, "dino": 0.27, "vit": 0.33},
    "r_of_logs": 0.63,
    "r_of_logs_frequent": 0.89,
    "share_alike": {"siglip": 0.23, "dino": 0.26, "vit": 0.38},
}  # Thasarathan et al. 2025, on ImageNet


@dataclass(frozen=True)
class Comparison:
    """What a USAE is compared with, and how the pass is run."""

    independent: Mapping[str, USAE] | None = None  # {backbone: its own SAE}
    other_seeds: Sequence[USAE] = field(default_factory=tuple)
    checkpointer: PassCheckpointer | None = None
    ranks: DistributedContext = SINGLE_PROCESS
    seed: int = EVALUATE_DEFAULTS.seed  # of the random atoms that consistency is compared with
    workers: int | None = 1  # processes that share the pictures; None: as many as `workers_for` says
    answers: bool | None = None  # whether classifiers are used; None: where there are some
    judge: Judge | None = None  # judges how alike the pictures of a concept are
    label_column: str | None = None  # column of a dataset with the pictures' classes

    @classmethod
    def from_settings(cls, settings: EvaluateSettings, usae: USAE, **other_fields: Any) -> Comparison:
        """What settings name, opened for a USAE; `other_fields` are workers, ranks and checkpointer.

        Raises:
            ValueError: for independent SAEs, another seed or a judge that cannot be read or does not fit.
        """
        return cls(
            independent=None if not settings.independent_saes else load_independent(settings.independent_saes, usae),
            other_seeds=[load(other) for other in settings.other_seed],
            seed=settings.seed,
            answers=settings.answers,
            judge=None if settings.judge is None else open_judge(settings.judge, usae),
            label_column=settings.label_column,
            **other_fields,
        )


@with_torch_defaults
def evaluate_source(
    usae: USAE,
    source: ImageSource,
    batch: int = EVALUATE_DEFAULTS.image_batch,
    progress: StageCallback = lambda stage, done, total: None,
    compared: Comparison | None = None,
) -> tuple[Report, Statistics] | None:
    """Measure a USAE on pictures.

    Args:
        usae: a USAE with backbones.
        source: pictures that it was not trained on.
        batch: pictures per forward pass.
        progress: called after each batch.
        compared: independent SAEs, other seeds, and where to keep states.

    Returns:
        The report's figures, ready for JSON, and the per-concept statistics on these pictures; None in all processes
        but the first.

    Raises:
        ValueError: when no picture can be read, or what it is compared with does not fit.
        Stopped: when asked to stop; the state is kept.
    """
    backbones, grid = usae.backbones, usae.grid
    assert grid is not None
    compared = compared or Comparison()
    _check_others(usae, compared.other_seeds)
    classes = classes_or_none(source, compared.label_column)
    measures = _measures(usae, source, compared, classes)
    state = PassState(_pass_settings(usae, source, batch, compared, measures, classes), measures)
    workers = workers_for(compared.workers, -(-len(source) // batch), usae.device.type, _bytes_of_a_batch(usae, batch))
    has_all = run_pass(
        state,
        lambda tried: stream_tokens(TokenSource(backbones, source, grid), batch, tried, measures.of_pictures),
        len(source),
        compared.checkpointer,
        compared.ranks,
        lambda done, total: progress("pictures", done, total),
        workers,
    )
    if not has_all:
        return None
    if not int(measures.firing.counts[0]):
        raise none_can_be_read(len(source), source, state.failures[0])
    figures, statistics = figures_of(usae, measures, compared)
    report: Report = {**_heading(usae, source, state), **figures, **_picture_figures(measures, classes, compared)}
    if isinstance(source, DemoImages):
        report_stage = _stoppable(progress, compared.checkpointer)
        report["truth"], areas = truth_figures(usae, source, *measures.codes(), report_stage, workers)
        statistics = replace(statistics, auroc=areas)
    papers = {name: spec.model for name, spec in PAPER.items()}
    report["reference"] = REFERENCE if {name: spec.model for name, spec in usae.specs.items()} == papers else None
    report["warnings"] = warnings(report)
    return report, statistics


def _heading(usae: USAE, source: ImageSource, state: PassState) -> Report:
    """What was measured, on what, and how."""
    return {
        "schema": REPORT_SCHEMA,
        "usae": usae.source,
        "usae_sha256": usae.sha256,
        "recipe": usae.recipe,
        "images": source.name,
        "fingerprint": source.fingerprint(),
        "unreadable": sorted(state.failures),
        "settings": state.settings.model_dump(mode="json"),
        "versions": versions(),
    }


def _stoppable(progress: StageCallback, checkpointer: PassCheckpointer | None) -> StageCallback:
    """A progress callback that ends the evaluation when a stop was requested."""

    def report_stage(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)
        if checkpointer is not None:
            checkpointer.check()

    return report_stage


def _check_others(usae: USAE, others: Sequence[USAE]) -> None:
    """Refuse trainings from other seeds that cannot be compared."""
    for number, other in enumerate(others):
        for before in (usae, *others[:number]):
            _check_alike(before, other)


def _pass_settings(
    usae: USAE,
    source: ImageSource,
    batch: int,
    compared: Comparison,
    measures: Measures,
    classes: ImageClasses | None,
) -> PassSettings:
    """The settings that a stopped pass must share with the one that resumes it."""
    return PassSettings(
        usae=usae.sha256,
        images=source.fingerprint(),
        batch=batch,
        processes=compared.ranks.world_size,
        dtype=str(next(iter(usae.backbones.values())).compute_dtype).removeprefix("torch."),
        seed=compared.seed,
        independent={name: sae.sha256 for name, sae in (compared.independent or {}).items()},
        answers=measures.answers is not None,
        judge=None if compared.judge is None else compared.judge.sha256,
        classes=None if classes is None else sha256(repr(classes).encode()).hexdigest(),
    )


def _measures(usae: USAE, source: ImageSource, compared: Comparison, classes: ImageClasses | None) -> Measures:
    """Empty measures."""
    if compared.answers:
        check_answers(usae, usae.backbones)
    asks_classifiers = (
        any(spec.classes for spec in usae.specs.values()) if compared.answers is None else compared.answers
    )
    needs_pictures = compared.judge is not None or classes is not None
    return Measures(
        usae,
        compared.independent,
        keep_codes=isinstance(source, DemoImages),
        answers=Answers(usae, classes) if asks_classifiers else None,
        pictures=PictureEmbeddings(compared.judge) if needs_pictures else None,
    )


def _picture_figures(measures: Measures, classes: ImageClasses | None, compared: Comparison) -> PictureFigures:
    """The figures that need the pictures themselves, or their classes; each only where it is asked for or possible."""
    figures: PictureFigures = {}
    if measures.answers is not None:
        figures["answers"] = measures.answers.figures()
    if measures.pictures is None:
        return figures
    peaks, names = measures.peaks(), measures.usae.names
    if compared.judge is not None:
        figures["monosemanticity"] = monosemanticity_figures(compared.judge, measures.pictures.embeddings, peaks, names)
    if classes is not None:
        figures["classes"] = class_figures(peaks, measures.pictures.numbers, classes, names, compared.seed)
    return figures


def figures_of(usae: USAE, measures: Measures, compared: Comparison | None = None) -> tuple[Figures, Statistics]:
    """All figures that need no knowledge of the pictures, and the statistics."""
    compared = compared or Comparison()
    statistics = measures.firing.statistics()
    reconstruction = measures.total()
    several = len(usae.names) > 1
    figures: Figures = {
        "n_concepts": usae.n_concepts,
        "k": usae.k,
        "active": usae.sparsity.in_words(usae.k),
        "backbones": usae.names,
        "n_images": int(statistics.counts[0]),
        "n_tokens": int(statistics.counts[1]),
        "r2": reconstruction.r2,
        "r2_scalar": reconstruction.r2_scalar,
        "r2_summary": r2_summary(reconstruction.r2),
        "ceiling": ceiling_figures(measures.ceiling, reconstruction.r2),
        "errors": standardized_errors(usae, reconstruction),
        **concept_figures(usae, statistics),
        "quantiles_missing": [level for level in LEVELS if int(statistics.counts[0]) < images_needed(level)],
    }
    if measures.posthoc is not None and compared.independent is not None:
        alone = measures.posthoc.alone.r2
        figures["independent"] = {
            "r2": {name: alone[name][name] for name in usae.names},
            "cost": {name: alone[name][name] - reconstruction.r2[name][name] for name in usae.names},
            "consistency": consistency(usae, compared.independent, statistics.co_fires, compared.seed),
        }
        aligned = several and measures.posthoc.measured
        figures["posthoc"] = posthoc_figures(measures.posthoc, measures.reconstruction[1]) if aligned else None
    if usae.private:
        figures["private"] = {name: (concepts.start, concepts.stop) for name, concepts in usae.private.ranges.items()}
    if compared.other_seeds:
        figures["stability"] = stability([usae, *compared.other_seeds])
    return figures, statistics


def standardized_errors(usae: USAE, reconstruction: Reconstruction) -> dict[str, Matrix]:
    """Mean squared and absolute errors in units of each target's own standard deviation.

    It is that of the scalar standardization, as training sees it; without one, that of these tokens.
    """
    stds = {name: usae.scale(name).std for name in usae.names}
    spread = {n: reconstruction.spread(n) if std is None else std.item() + STD_EPSILON for n, std in stds.items()}
    return {
        kind: {
            source: {target: value / spread[target] ** power for target, value in row.items()}
            for source, row in reconstruction.mean_error(kind).items()
        }
        for kind, power in (("squared", 2), ("absolute", 1))
    }


def concept_figures(usae: USAE, statistics: Statistics) -> Figures:
    """Firing entropy, co-firing, energy, dead, dense and duplicate concepts."""
    alive = statistics.alive
    entropy = statistics.firing_entropy
    energy = statistics.energy.mean(0)
    co_fires = statistics.co_fires
    order = co_fires.argsort(descending=True, stable=True)[:MAX_COFIRING]
    several = len(usae.names) > 1
    shared = torch.arange(usae.n_concepts) < usae.private.n_shared
    # rounded, an entropy can be a hair above 1, which histc would leave out
    entropies = entropy[alive & shared].nan_to_num(0.0).clamp(0, 1)
    counts = torch.histc(entropies, 20, 0, 1).int().tolist()
    return {
        "dead": dead_counts(usae, statistics),
        "dead_everywhere": int((~alive).sum()),
        "dense": (statistics.firing_share.amax(0) > DENSE_SHARE).nonzero().squeeze(1).tolist(),
        "duplicates": duplicates([usae.dictionary(name).cpu() for name in usae.names]),
        "entropy": {
            "mean": entropy[alive & shared].mean().item() if several else None,
            "histogram": counts if several else None,
            "peak": (counts.index(max(counts)) + 0.5) / len(counts) if several and len(entropies) else None,
        },
        "co_firing_top_1000": {
            name: statistics.co_firing[row, order].mean().item() for row, name in enumerate(usae.names)
        }
        if several
        else None,
        "co_fires_energy": {
            "r_of_logs": log_correlation(co_fires, energy, 1),
            "r_of_logs_frequent": log_correlation(co_fires, energy, MAX_COFIRING),
            "frequent": int((co_fires >= MAX_COFIRING).sum()),
        }
        if several
        else None,
        "concepts": {
            "fires": dict(zip(usae.names, statistics.fires.tolist(), strict=True)),
            "co_fires": co_fires.tolist(),
            "energy": energy.tolist(),
            "entropy": entropy.tolist(),
            "co_firing": dict(zip(usae.names, statistics.co_firing.tolist(), strict=True)),
            "universality": statistics.universality.tolist(),
        },
    }


def log_correlation(co_fires: torch.Tensor, energy: torch.Tensor, least: int) -> float:
    """r between log co-fires and log energy over the concepts with at least `least` co-fires; NaN for fewer than 3."""
    chosen = (co_fires >= least) & (energy > 0)
    if int(chosen.sum()) < 3:
        return float("nan")
    return correlation(co_fires[chosen].double().log(), energy[chosen].double().log())


def posthoc_figures(posthoc: PostHoc, joint: Reconstruction) -> PosthocFigures:
    """R² across backbones of independent SAEs aligned afterwards, beside the joint space's on the same pictures."""
    aligned, joint_r2 = posthoc.cross.r2, joint.r2
    return {
        "r2": aligned,
        "r2_summary": r2_summary(aligned),
        "joint_r2": joint_r2,
        "joint_r2_summary": r2_summary(joint_r2),
    }


def stability(seeds: Sequence[USAE]) -> StabilityFigures:
    """How alike the spaces of several seeds are: mean cosine of matched concepts, pair by pair."""
    atoms = [[usae.dictionary(name).cpu() for name in usae.names] for usae in seeds]
    pairs, cosines = [], []
    for a, b in combinations(range(len(seeds)), 2):
        cosines.append(matched_cosine(atoms[a], atoms[b]))
        pairs.append({"one": seeds[a].source, "other": seeds[b].source, "cosine": cosines[-1]})
    return {"pairs": pairs, "mean": sum(cosines) / len(cosines)}


def _bytes_of_a_batch(usae: USAE, batch: int) -> float:
    """Memory that a batch of pictures takes: their tokens, a backbone's work, a few pictures' codes, and their sums."""
    assert usae.grid is not None
    tokens, widths = usae.grid[0] * usae.grid[1], list(usae.widths.values())
    numbers = batch * tokens * (2 * sum(widths) + BLOCK_NUMBERS * max(widths))
    numbers += ENCODING_BATCH_SIZE * tokens * usae.n_concepts * (len(widths) + 3)
    sums = (batch / ENCODING_BATCH_SIZE) * 2 * (sum(widths) + 1) ** 2  # as they are, and as they are sent
    return 4.0 * numbers + 2 * 8.0 * sums


def _check_alike(usae: USAE, other: USAE) -> None:
    if other.widths != usae.widths:
        raise UsageError(
            f"{other.source} is over {other.widths}; expected {usae.widths}: another seed of the same backbones"
        )
    if other.sha256 is not None and other.sha256 == usae.sha256:
        raise UsageError(f"{other.source} is the same USAE as {usae.source}; expected one of another seed")
