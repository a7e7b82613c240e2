"""Are pictures of a space's concepts read right? By what took no part in drawing them; a column of variants.py.

Concepts are drawn `per-model`, by the same few steps and views for every space. Scenes: concepts that follow a colour
or a texture in all backbones; a picture is read right when reader.py, whose texture reader is trained first, says that
colour or texture. Photographs, where no such truth is known: concepts that fire in every backbone, at random; a picture
is shown to each backbone that it was not drawn through, and is read right there when its code, under held-out views, is
at or beyond the 99th percentile of photographs that the space was not trained on. A concept that is one in name alone
is not seen by another backbone.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from reader import TextureReader, read_colour, train_texture_reader
from torch import Tensor

import usae_viz as uv
from usae_train.evaluation.ground_truth.truth import RECOVERED_AUROC
from usae_train.model.firing import measure
from usae_train.model.usae import USAE
from usae_train.scenes.factors import FACTOR_VALUES
from usae_train.tokens.paired import PairedTokens
from usae_viz.parameterizations.fourier import CONTRAST
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.score import Score

# Of the demo's pictures half the steps, and a third of the crops, were read as well (faithful.py).
SCENES = MaximizeSettings(steps=48, views=2, contrast=CONTRAST["demo"])
PHOTOGRAPHS = MaximizeSettings(steps=24, views=2, size=224)
BEYOND = 99.0  # percentile of photographs: as real_reader.py's concepts
READER_STEPS = 120  # a quarter of its usual ones, a minute or two


class Reading(NamedTuple):
    """How many pictures were read, and how many of them right."""

    right: int
    read: int


def read_in_scenes(usae: USAE, areas: Tensor, count: int) -> Reading:
    """Draw concepts that follow a colour or a texture; how many pictures show it?

    Args:
        usae: a space over the demo's backbones.
        areas: (values, concepts), the least patch AUROC of all backbones.
        count: of concepts at most: of the values that have one, the first of an order that is always the same.
    """
    values = torch.randperm(len(FACTOR_VALUES), generator=torch.Generator().manual_seed(0)).tolist()
    names = {row: FACTOR_VALUES[row].split(": ") for row in values}
    followed = [row for row in values if names[row][0] != "shape" and areas[row].amax() >= RECOVERED_AUROC][:count]
    objectives = [uv.Concept(int(areas[row].argmax())) for row in followed]
    right = read = 0
    for row, result in zip(followed, uv.maximize_each(usae, objectives, SCENES), strict=True):
        factor, value = names[row]
        words = shown(factor, torch.stack([*result.images.values()]))
        right += words.count(value)
        read += len(words)
    return Reading(right, read)


def shown(factor: str, pictures: Tensor) -> Sequence[str]:
    """The colour or the texture that pictures (n, 3, H, W) show."""
    return read_colour(pictures) if factor == "colour" else texture_reader().read(pictures)


@cache
def texture_reader() -> TextureReader:
    """Trained once a run."""
    return train_texture_reader(READER_STEPS)[0]


def read_in_photographs(usae: USAE, held: PairedTokens, count: int) -> Reading:
    """Draw concepts; in how many of the backbones that a picture was not drawn through is it read right?

    Args:
        usae: a space over several backbones.
        held: tokens of a hundred photographs or more that it was not trained on; its statistics become theirs.
        count: of concepts.
    """
    usae.statistics = measure(usae, held)
    live = (usae.statistics.fires > 0).all(0).nonzero()[:, 0]
    drawn = live[torch.randperm(len(live), generator=torch.Generator().manual_seed(0))[:count]]
    right = read = 0
    for result in uv.maximize_each(usae, [uv.Concept(concept) for concept in drawn.tolist()], PHOTOGRAPHS):
        assert result.scores is not None  # of the objective's own concept
        for image, through in result.scores.drawn_for.items():
            others = [score for name, score in result.scores[image].items() if name not in through]
            codes = [score.percentile for score in others if isinstance(score, Score)]
            right += sum(percentile is not None and percentile >= BEYOND for percentile in codes)
            read += len(codes)
    return Reading(right, read)
