"""Verification: does a finished picture fire its concept, in which backbones, under views it was not optimized on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.statistics import TAU
from usae_train.model.usae import USAE
from usae_viz.augmentations import UNSEEN, views
from usae_viz.maximization.loop import Eyes, perceive
from usae_viz.verification.scores import Score, Scores

VIEWS = 8  # with 32 the codes of six demo pictures, 8 to 12, moved by at most 0.17
UNSEEN_SEED = 0x5EED  # added to the run's seed, so that a run is verified under draws that it did not optimize under
OTHERS = 64  # random other concepts that give the level of chance in a picture


@torch.no_grad()
def verify(
    usae: USAE, concept: int, canvases: Mapping[str, Tensor], drawn_for: Mapping[str, Sequence[str]], seed: int,
    noise: Tensor | None = None,
) -> Scores:  # fmt: skip
    """Score pictures of one concept through every backbone.

    Args:
        usae: the model.
        concept: the concept that the pictures are of.
        canvases: {image: (3, H, W)}.
        drawn_for: {image: the backbones it was drawn for}.
        seed: the run's seed; the views are drawn from another one derived from it.
        noise: (n, 3, H, W), pictures that nothing was optimized in: the level of chance.
    """
    names = list(canvases)
    stacked = torch.stack([canvases[name] for name in names])
    others = _other_concepts(usae, concept)
    pictures = stacked if noise is None else torch.cat([stacked, noise.to(stacked)])
    table: dict[str, dict[str, Score]] = {image: {} for image in names}
    signatures: dict[str, dict[str, Tensor]] = {image: {} for image in names}
    for row, backbone in enumerate(usae.backbones):
        codes = seen_codes(usae, backbone, pictures, seed)
        ours = codes.of(concept)  # (image, view, token)
        code = ours.amax(-1).mean(1)  # (image,)
        dense = codes.dense(usae.n_concepts)
        means, largest = dense.mean((1, 2)), dense.amax(2).mean(1)  # (image, n_concepts)
        chance = None if noise is None else code[len(names) :].mean().item()
        for i, image in enumerate(names):
            table[image][backbone] = Score(
                code=code[i].item(),
                rank=int((means[i] > means[i, concept]).sum()) + 1,
                share=(ours[i] > TAU).float().mean().item(),
                percentile=_percentile(usae, row, concept, code[i].item()),
                others=largest[i, others].mean().item() if len(others) else 0.0,
                noise=chance,
            )
            signatures[image][backbone] = means[i].cpu()
    return Scores(concept, table, {image: tuple(drawn_for[image]) for image in names}, signatures)


def seen_codes(usae: USAE, backbone: str, canvases: Tensor, seed: int) -> Codes:
    """Codes (image, view, token, k) of canvases (image, 3, H, W) under views that no picture is optimized on."""
    eyes = Eyes(usae, UNSEEN, VIEWS)
    size = max(each.input_size for each in usae.backbones.values())
    values, indices = [], []
    for canvas in canvases.split(1):  # one by one: memory, and a picture's scores do not depend on the others
        generator = torch.Generator().manual_seed(seed + UNSEEN_SEED)
        shown = views(canvas, eyes.augmentation, [generator], eyes.crops, size)
        codes = perceive(eyes, usae.backbones[backbone], canvas, shown).codes
        values.append(codes.values)
        indices.append(codes.indices)
    return Codes(torch.cat(values), torch.cat(indices))


def _other_concepts(usae: USAE, concept: int) -> Tensor:
    """Up to `OTHERS` concepts besides the one, always the same."""
    order = torch.randperm(usae.n_concepts, generator=torch.Generator().manual_seed(UNSEEN_SEED))
    return order[order != concept][:OTHERS]


def _percentile(usae: USAE, backbone: int, concept: int, code: float) -> float | None:
    return None if usae.statistics is None else usae.statistics.percentile(backbone, concept, code)
