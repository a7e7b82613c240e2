"""The atlas: concepts in a plane, near each other where their dictionaries are alike in all backbones at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from usae_train.model.usae import USAE
from usae_viz.explorer.tsne import tsne

MIN_CONCEPTS = 8  # concepts: fewer are seen at a glance anyway


@dataclass(frozen=True)
class AtlasData:
    """Where each card lies, 0 to 1 in both directions; None for what is not a concept."""

    x: list[float | None]
    y: list[float | None]


def atlas_data(usae: USAE | None, concepts: Sequence[int | None]) -> AtlasData | None:
    """Lay the concepts of a page out; the same each time.

    Args:
        usae: whose; None where the page does without it.
        concepts: each card's; None for a card of another objective.

    Returns:
        None for fewer than 8 concepts.
    """
    single_concepts = [concept for concept in concepts if concept is not None]
    if usae is None or len(single_concepts) < MIN_CONCEPTS:
        return None
    with torch.no_grad():
        plane = tsne(atom_similarity(usae)[single_concepts])
    low, high = plane.amin(0), plane.amax(0)
    span = (high - low).max().clamp_min(1e-12)
    middle = (plane - (low + high) / 2) / span + 0.5
    places = dict(zip(single_concepts, middle.tolist(), strict=True))
    placed = [None if concept is None else places[concept] for concept in concepts]
    x, y = ([None if at is None else round(at[axis], 4) for at in placed] for axis in (0, 1))
    return AtlasData(x, y)


def atom_similarity(usae: USAE) -> Tensor:
    """Rows, (n_concepts, sum of the widths), whose inner product is the mean of the atoms' cosines in each backbone."""
    atoms = [normalize(usae.dictionary(name).float().cpu(), dim=1) for name in usae.names]
    rows: Tensor = torch.cat(atoms, 1) / len(atoms) ** 0.5
    return rows
