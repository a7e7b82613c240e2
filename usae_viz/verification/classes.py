"""Pictures of a class: what every classifier that has it says of them, under views they were not optimized on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.objectives.class_names import class_name
from usae_viz.verification.held_out import CLOSER_SHARES, CLOSER_VIEWS, closer_views, held_out_probabilities
from usae_viz.verification.noise import ScoringConfig
from usae_viz.verification.score import ClassScore
from usae_viz.verification.scores import Scores


@with_torch_defaults
@torch.no_grad()
def score_class_images(
    usae: USAE,
    classes: Sequence[tuple[str, int]],
    canvases: Mapping[str, Tensor],
    drawn_for: Mapping[str, Sequence[str]],
    config: ScoringConfig,
) -> Scores:
    """Score pictures of a class through every backbone with a classifier of as many classes; else as `score_images`.

    The classes are those that are drawn, each after its backbone; a picture is scored for the first that is of a
    backbone it was drawn for.
    """
    table: dict[str, dict[str, ClassScore]] = {image: {} for image in canvases}
    for image, canvas in canvases.items():
        own_backbone, index = next((each for each in classes if each[0] in drawn_for[image]), classes[0])
        count = usae.specs[own_backbone].classes
        for backbone in (name for name, spec in usae.specs.items() if spec.classes == count):
            closer = CLOSER_SHARES if backbone in drawn_for[image] else ()
            table[image][backbone] = _score(usae, backbone, index, canvas[None], config, closer)
    scored = {image: tuple(name for name in drawn_for[image] if name in row) for image, row in table.items()}
    return Scores(
        None, table, {image: names or tuple(table[image]) for image, names in scored.items()}, {}, config.thresholds
    )


def _score(
    usae: USAE, backbone: str, index: int, canvas: Tensor, config: ScoringConfig, shares: Sequence[float]
) -> ClassScore:
    probabilities = held_out_probabilities(usae, backbone, canvas, config.seed)[0].mean(0)
    read_as = int(probabilities.argmax())
    closer = {}
    for share in shares:
        views = closer_views(share)
        closer_probabilities = held_out_probabilities(usae, backbone, canvas, config.seed, CLOSER_VIEWS, views)[0]
        closer[f"{share:g}"] = closer_probabilities.mean(0)
    return ClassScore(
        index,
        class_name(len(probabilities), index),
        probabilities[index].item(),
        int((probabilities > probabilities[index]).sum()) + 1,
        read_as,
        class_name(len(probabilities), read_as),
        None if config.noise is None else config.noise.probability(usae, backbone, index),
        {share: values[index].item() for share, values in closer.items()},
    )
