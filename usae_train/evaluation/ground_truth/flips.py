"""One-factor flips: pairs of scenes that differ in one factor of one object. Do the concepts follow?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.scenes.factors import FACTORS, PURE, patch_shares
from usae_train.scenes.world import SIZE, SceneParameters, draw_parameters, render_scenes

FLIPS_SEED = 4_000_000_007  # not the seed of any split of the demo's scenes
SCENE_BATCH_SIZE = 8  # scenes encoded at a time, which takes scenes x patches x concepts numbers


def factors_to_flip(concept_of: Mapping[str, int]) -> list[str]:
    """The factors with two or more values that have a concept."""
    return [factor for factor in FACTORS if len(_values_with_concept(factor, concept_of)) > 1]


@torch.no_grad()
def flips_of(usae: USAE, factor: str, concept_of: Mapping[str, int], pairs: int) -> dict[str, float]:
    """Share of one factor's flips that concepts follow, {backbone: share}.

    The nearest object of a scene changes from one value to another, the rest stays. The change is followed when, on
    average over the patches that the object covers in both scenes, the new value's code rises and the old value's
    falls.
    """
    assert usae.grid is not None
    values, named_values = FACTORS[factor], _values_with_concept(factor, concept_of)
    generator = torch.Generator().manual_seed(FLIPS_SEED + list(FACTORS).index(factor))
    before = draw_parameters(pairs, generator)
    front = before.present.sum(1) - 1  # the object that hides others and is hidden by none
    old_new = torch.stack([torch.randperm(len(named_values), generator=generator)[:2] for _ in range(pairs)])
    old, new = torch.tensor(named_values)[old_new].unbind(1)
    rows = torch.arange(pairs)
    patches = torch.ones(pairs, usae.grid[0] * usae.grid[1], dtype=torch.bool)
    pictures = []
    for value in (old, new):
        changed = getattr(before, factor).clone()
        changed[rows, front] = value
        scene = before.with_values(**{factor: changed})
        pictures.append(render_scenes(scene, SIZE).images)
        patches &= _object_patches(scene, front, usae.grid)
    concepts = torch.tensor([concept_of.get(f"{factor}: {value}", -1) for value in values])
    concepts_of_pair = torch.stack([concepts[old], concepts[new]], 1)
    share: dict[str, float] = {}
    for name in usae.names:
        then, now = (_mean_codes(usae, name, shown, concepts_of_pair, patches) for shown in pictures)
        followed = (now[:, 0] < then[:, 0]) & (now[:, 1] > then[:, 1])
        share[name] = followed[patches.any(1)].float().mean().item()
    return share


def _values_with_concept(factor: str, concept_of: Mapping[str, int]) -> list[int]:
    """Which of a factor's values have a concept."""
    return [
        v for v, value in enumerate(FACTORS[factor]) if f"{factor}: {value}" in concept_of and value != "background"
    ]


def _object_patches(parameters: SceneParameters, front: Tensor, grid: tuple[int, int]) -> Tensor:
    """(pairs, patches): where the front object covers more than half, found by a colour that nothing else has."""
    marked = torch.zeros_like(parameters.colour)
    marked[torch.arange(len(marked)), front] = 1
    labels = render_scenes(parameters.with_values(colour=marked), SIZE).labels["colour"]
    return patch_shares(labels, 2, grid)[..., 1] > PURE


def _mean_codes(usae: USAE, name: str, pictures: Tensor, concepts_of_pair: Tensor, patches: Tensor) -> Tensor:
    """(pairs, concepts): each picture's codes of the concepts of its pair, the mean over its own patches."""
    means = []
    for canvases, concepts, covered in zip(
        *(every.split(SCENE_BATCH_SIZE) for every in (pictures, concepts_of_pair, patches)), strict=True
    ):
        codes = usae.encode(name, usae.tokens(name, canvases))
        is_concept = codes.indices.cpu()[..., None] == concepts[:, None, None]
        values = (codes.values.cpu()[..., None] * is_concept).sum(-2)  # (pairs, patches, concepts)
        means.append((values * covered[..., None]).sum(1) / covered.sum(1, keepdim=True).clamp_min(1))
    return torch.cat(means)
