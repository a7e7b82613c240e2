"""Pictures of a concept: what every backbone makes of them, under views they were not optimized on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.model.statistics import FIRING_THRESHOLD
from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.verification.held_out import CLOSER_SHARES, CLOSER_VIEWS, HELD_OUT_SEED, closer_views, held_out_codes
from usae_viz.verification.noise import ScoringConfig
from usae_viz.verification.score import Score
from usae_viz.verification.scores import Scores

N_OTHER_CONCEPTS = 64  # random other concepts that give the level of chance in a picture


@with_torch_defaults
@torch.no_grad()
def score_images(
    usae: USAE,
    concept: int,
    canvases: Mapping[str, Tensor],
    drawn_for: Mapping[str, Sequence[str]],
    config: ScoringConfig,
) -> Scores:
    """Score pictures of one concept through every backbone.

    Args:
        usae: the model.
        concept: the concept that the pictures are of.
        canvases: {image: (3, H, W)}.
        drawn_for: {image: the backbones it was drawn for}.
        config: by what they are scored.
    """
    names = list(canvases)
    pictures = torch.stack([canvases[name] for name in names])
    others = _other_concepts(usae, concept)
    table: dict[str, dict[str, Score]] = {image: {} for image in names}
    signatures: dict[str, dict[str, Tensor]] = {image: {} for image in names}
    for row, backbone in enumerate(usae.backbones):
        codes = held_out_codes(usae, backbone, pictures, config.seed)
        values = codes.of(concept)  # (image, view, token)
        code = _largest(values)
        dense = codes.dense(usae.n_concepts)
        means, largest = dense.mean((1, 2)), dense.amax(2).mean(1)  # (image, n_concepts)
        chance = None if config.noise is None else config.noise.code(usae, backbone, concept)
        for i, image in enumerate(names):
            table[image][backbone] = Score(
                code=code[i].item(),
                rank=int((means[i] > means[i, concept]).sum()) + 1,
                share=(values[i] > FIRING_THRESHOLD).float().mean().item(),
                percentile=percentile_of(usae, row, concept, code[i].item()),
                others=largest[i, others].mean().item() if len(others) else 0.0,
                noise=chance,
                closer=_closer(usae, backbone, concept, pictures[i : i + 1], config.seed)
                if backbone in drawn_for[image]
                else {},
            )
            signatures[image][backbone] = means[i].cpu()
    return Scores(concept, table, {image: tuple(drawn_for[image]) for image in names}, signatures, config.thresholds)


def _largest(values: Tensor) -> Tensor:
    """(image, view, token) -> (image,): the largest code of a view, mean over views."""
    return values.amax(-1).mean(1)


def _closer(usae: USAE, backbone: str, concept: int, picture: Tensor, seed: int) -> dict[str, float]:
    """{share of the side: `Score.code` of a picture (1, 3, H, W) in views of just that}."""
    codes_by_share = {
        share: held_out_codes(usae, backbone, picture, seed, CLOSER_VIEWS, closer_views(share))
        for share in CLOSER_SHARES
    }
    return {f"{share:g}": _largest(codes.of(concept)).item() for share, codes in codes_by_share.items()}


def _other_concepts(usae: USAE, concept: int) -> Tensor:
    """Up to `N_OTHER_CONCEPTS` concepts besides the one, always the same."""
    order = torch.randperm(usae.n_concepts, generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    return order[order != concept][:N_OTHER_CONCEPTS]


def percentile_of(usae: USAE, backbone: int, concept: int, code: float) -> float | None:
    """Where a code, as a `Score` has it, stands among the largest codes of natural pictures, by the USAE's statistics.

    The backbone is its place among the USAE's. None without statistics.
    """
    return None if usae.statistics is None else usae.statistics.percentile(backbone, concept, code)
