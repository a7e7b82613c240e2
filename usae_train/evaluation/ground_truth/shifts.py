"""Scenes that look different from those of training: what still works?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import r2_summary
from usae_train.images.sources import DemoImages
from usae_train.model.statistics import auroc
from usae_train.model.usae import USAE
from usae_train.scenes.factors import FACTOR_VALUES, patch_truth
from usae_train.scenes.world import SIZE, SceneParameters, render_scenes
from usae_train.tokens.paired import PairedTokens

SCENES = 200


@dataclass(frozen=True)
class Shift:
    """A change of how scenes look: of how they are drawn, or of their pictures."""

    scene: Callable[[SceneParameters], SceneParameters] = lambda parameters: parameters
    picture: Callable[[Tensor], Tensor] = lambda canvases: canvases


def _noisy(canvases: Tensor) -> Tensor:
    return (canvases + 0.1 * torch.randn(canvases.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def _blurred(canvases: Tensor) -> Tensor:
    from kornia.filters import gaussian_blur2d

    return gaussian_blur2d(canvases, (9, 9), (1.5, 1.5))


SHIFTS: dict[str, Shift] = {
    "as they are": Shift(),
    "noise 0.1": Shift(picture=_noisy),
    "blur 1.5 px": Shift(picture=_blurred),
    "darker (x 0.6)": Shift(picture=lambda canvases: canvases * 0.6),
    "channels turned (another palette)": Shift(picture=lambda canvases: canvases.roll(1, dims=1)),
    # training draws periods of 7 to 13 px: textures and colours are never seen together at these scales
    "textures of 16 to 20 px": Shift(scene=lambda p: p.with_values(period=16 + (p.period - 7) * 4 / 6)),
}


@torch.no_grad()
def figures_under(
    usae: USAE, source: DemoImages, shift: Shift, concept_of: Mapping[str, int]
) -> dict[str, float | None]:
    """Figures under a shift: off-diagonal R², mean firing entropy, and the mean AUROC of the values' own concepts.

    Args:
        usae: the model.
        source: the scenes; the first 200 are shown under every shift.
        shift: how they look.
        concept_of: {"colour: red": concept, ...}.
    """
    parameters = source.parameters(range(min(SCENES, len(source))))
    assert usae.grid is not None
    size = usae.input_size
    measures = Measures(usae, keep_codes=True)
    truth = []
    for first in range(0, len(parameters), 32):
        scenes = shift.scene(parameters.select(slice(first, first + 32)))
        pictures = shift.picture(render_scenes(scenes, size).images)
        tokens = {name: usae.tokens(name, pictures) for name in usae.names}
        measures.add(PairedTokens(tokens, torch.arange(first, first + len(pictures))), half=0)
        truth.append(patch_truth(render_scenes(scenes, SIZE).labels, usae.grid))
    statistics = measures.firing.statistics()
    areas = _areas(measures, torch.cat(truth).flatten(0, 1), concept_of)
    return {
        "r2_off_diagonal": r2_summary(measures.total().r2)["off_diagonal"],
        "firing_entropy": statistics.firing_entropy[statistics.alive].mean().item() if len(usae.names) > 1 else None,
        **{f"auroc_{factor}": areas[factor] for factor in areas},
    }


def _areas(measures: Measures, truth: Tensor, concept_of: Mapping[str, int]) -> dict[str, float]:
    """{factor: mean over its values of the smallest AUROC of any backbone}."""
    if not concept_of:
        return {}
    labels = truth[:, [FACTOR_VALUES.index(value) for value in concept_of]]
    areas = []
    for codes in measures.codes()[1].values():
        scores = torch.stack([codes.of(concept) for concept in concept_of.values()], 1)
        areas.append(torch.stack([auroc(scores[:, [v]], labels[:, [v]])[0, 0] for v in range(len(concept_of))]))
    smallest = torch.stack(areas).amin(0)
    kinds = [value.partition(":")[0] for value in concept_of]
    return {
        kind: smallest[[row for row, each in enumerate(kinds) if each == kind]].nanmean().item()
        for kind in dict.fromkeys(kinds)
    }
