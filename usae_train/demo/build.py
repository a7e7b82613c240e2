"""Rebuild the demo universe from a seed: three backbones, a USAE over them, its statistics with the known truth."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from usae_train.backbones.backbone import build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.backbones.spec import BackboneSpec
from usae_train.demo.pretrain import SPECS
from usae_train.demo.pretrain_all import pretrain_all
from usae_train.demo.settings import BuildSettings
from usae_train.evaluation.ground_truth.truth import codes_auroc, factor_truth
from usae_train.files.atomic import check_free
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import DemoImages
from usae_train.model.checkpoint import save
from usae_train.model.firing import measure
from usae_train.model.usae import USAE
from usae_train.runtime.progress import ProgressCallback, stage_counter
from usae_train.scenes.factors import FACTOR_VALUES
from usae_train.tokens.paired import TokenSource, collect_tokens
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, FitSettings

TRAINING_SCENES, HELD_OUT_SCENES = 4000, 2000
# Of the starts 0 to 5 only from 2 and 3 one index each told every colour and texture (the others miss `solid` or
# `checker`, AUROC 0.83 to 0.89), and 2's pictures of dots are so fine that an outside reader takes them for speckle.
START = 3
# Standardized and revived as when the packaged universe was made: with today's default a fit of 300 steps on 400 scenes
# has R² 0.864 and 0.689 instead of 0.828 and 0.648, and tells every colour, but fewer surfaces and shapes (AUROC of
# solid 0.68 instead of 0.83, square 0.74 instead of 0.84, background 0.68 instead of 0.88; of all the mean of the best
# 0.904 instead of 0.936; with lengths of 1, without noise 0.917).
AS_PACKAGED = {
    "encoding": "all",
    "standardization": "scalar",
    "unit_norm": True,
    "noise": 0.0,
    "auxiliary_weight": 1 / 32,
    "learning_rate": 1e-2,
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "dead_after": 200,
}
SETTINGS = FitSettings(  # small enough for every backbone to encode every token
    n_concepts=256,
    k=24,
    steps=1500,
    batch=2048,
    init_seed=START,
    recipe=DEFAULT.model_copy(update=AS_PACKAGED),
)


def build(
    out: Path,
    seed: int = BuildSettings().seed,
    device: str = "cpu",
    report: ProgressCallback = lambda stage, done, total, note: None,
    workers: int | None = None,
) -> USAE:
    """Train everything and write a USAE folder.

    What is finished is kept in a folder beside `out` until the end, and training states every 200 steps, so that a
    build that was stopped is resumed where it was.

    Args:
        out: folder to write.
        seed: seed of everything but the tokens that dictionaries start at (START).
        device: where to train.
        report: called with the stage, what is done of how much, and a figure.
        workers: backbones trained at the same time; one per core by default, on a GPU one.
    """
    check_free(out)
    folder = out.with_name(f".{out.name}.{seed}.work")
    pretrain_all(folder, seed, device, report, workers)
    specs = {name: spec.relative_to(folder) for name, spec in SPECS.items()}
    usae = fit_demo(specs, SETTINGS.model_copy(update={"seed": seed}), device, report)
    save(usae, out, half=True)
    shutil.rmtree(folder)
    return usae


def fit_demo(
    specs: Mapping[str, BackboneSpec],
    settings: FitSettings = SETTINGS,
    device: str = "cpu",
    report: ProgressCallback = lambda stage, done, total, note: None,
) -> USAE:
    """A USAE over demo backbones, its statistics and the AUROC of every concept measured on held-out scenes."""
    backbones = {name: backbone.to(device) for name, backbone in build_backbones(specs).items()}
    grid = common_grid(list(backbones.values()))
    train = collect_tokens(
        TokenSource(backbones, DemoImages(TRAINING_SCENES, "train"), grid),
        batch=64,
        progress=stage_counter(report, "tokens", "training scenes"),
    )
    usae = new_usae({name: b.width for name, b in backbones.items()}, settings, specs=specs, grid=grid)
    usae.weights = {name: backbone.record() for name, backbone in backbones.items()}
    fit_tokens(
        train.flat(),
        settings,
        usae,
        device,
        lambda step, metrics: report("usae", step, settings.steps, f"loss {metrics['loss']:.3f}"),
    )
    usae.to("cpu")
    held_out = DemoImages(HELD_OUT_SCENES)
    paired = collect_tokens(
        TokenSource(backbones, held_out, grid),
        batch=64,
        progress=stage_counter(report, "statistics", "held-out scenes"),
    )
    usae.measured_on = SourceRecord.of(held_out)
    usae.factors = FACTOR_VALUES
    statistics = measure(usae, paired)
    codes = {name: usae.encode(name, tokens.float()) for name, tokens in paired.flat().items()}
    areas = codes_auroc(codes, usae.n_concepts, factor_truth(held_out, paired.numbers, grid))
    usae.statistics = type(statistics)(**{**vars(statistics), "auroc": areas})
    return usae
