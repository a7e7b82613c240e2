"""One-factor flips: pairs of scenes that differ in one factor of one object. Do the concepts follow?"""

from __future__ import annotations

import torch
from torch import Tensor

from usae_train.demo.factors import FACTORS, PURE, patch_shares
from usae_train.demo.scenes import SIZE, SceneParameters, draw_parameters, render
from usae_train.usae import USAE

SEED = 4_000_000_007  # of no split of the demo's scenes


@torch.no_grad()
def flips(usae: USAE, concept_of: dict[str, int], pairs: int = 200) -> dict[str, dict[str, float]]:
    """Share of the flips that concepts follow, {factor: {backbone: share}}.

    The nearest object of a scene changes from one value to another, the rest is held. It is followed when, in the mean
    over the patches that the object covers in both scenes, the new value's code rises and the old value's falls.

    Args:
        usae: the model.
        concept_of: {"colour: red": concept, ...}, the values that have one.
        pairs: pairs of scenes a factor.
    """
    assert usae.grid is not None
    found: dict[str, dict[str, float]] = {}
    for number, (factor, values) in enumerate(FACTORS.items()):
        known = [v for v, value in enumerate(values) if f"{factor}: {value}" in concept_of and value != "background"]
        if len(known) < 2:
            continue
        generator = torch.Generator().manual_seed(SEED + number)
        before = draw_parameters(pairs, generator)
        front = before.present.sum(1) - 1  # the object that hides others and is hidden by none
        old_new = torch.stack([torch.randperm(len(known), generator=generator)[:2] for _ in range(pairs)])
        old, new = torch.tensor(known)[old_new].unbind(1)
        rows = torch.arange(pairs)
        scenes = []
        for value in (old, new):
            changed = getattr(before, factor).clone()
            changed[rows, front] = value
            scenes.append(render(before.with_values(**{factor: changed}), SIZE))
        patches = _object_patches(before, front, usae.grid)
        for scene, value in zip(scenes, (old, new), strict=True):
            patches &= _covered(scene.labels[factor], value, len(values), usae.grid)
        concepts = torch.tensor([concept_of.get(f"{factor}: {value}", -1) for value in values])
        share: dict[str, float] = {}
        for name in usae.names:
            then, now = (
                _mean_codes(usae.encode(name, usae.tokens(name, scene.images)).dense(usae.n_concepts), patches)
                for scene in scenes
            )
            rise = (now - then)[rows, concepts[new]]
            fall = (then - now)[rows, concepts[old]]
            followed = ((rise > 0) & (fall > 0))[patches.any(1)]
            share[name] = followed.float().mean().item()
        found[factor] = share
    return found


def _object_patches(parameters: SceneParameters, front: Tensor, grid: tuple[int, int]) -> Tensor:
    """(pairs, patches): where the front object covers more than half, told by a colour that nothing else has."""
    marked = torch.zeros_like(parameters.colour)
    marked[torch.arange(len(marked)), front] = 1
    labels = render(parameters.with_values(colour=marked), SIZE).labels["colour"]
    return patch_shares(labels, 2, grid)[..., 1] > PURE


def _covered(labels: Tensor, value: Tensor, n_values: int, grid: tuple[int, int]) -> Tensor:
    """(pairs, patches): where each pair's value covers more than half."""
    shares = patch_shares(labels, n_values, grid)
    return shares.gather(2, value[:, None, None].expand(-1, shares.shape[1], 1))[..., 0] > PURE


def _mean_codes(codes: Tensor, patches: Tensor) -> Tensor:
    """(pairs, patches, n_concepts) -> the mean over each pair's own patches, (pairs, n_concepts)."""
    own = patches[..., None].to(codes.dtype)
    return (codes * own).sum(1) / own.sum(1).clamp_min(1)
