"""Objectives on the pictures themselves, to be subtracted or added to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective

if TYPE_CHECKING:
    from torch import Tensor


class TotalVariation(Objective):
    """Mean absolute difference of neighbouring pixels (anisotropic; Mahendran and Vedaldi 2015); subtract it.

    Example:
        >>> import usae_train as ut, usae_viz as uv
        >>> calm = uv.Concept(3) - 2 * TotalVariation()
        >>> calm
        Concept(3) - 2 * TotalVariation()
        >>> uv.maximize(ut.load("demo"), calm, steps=2, views=1).settings.steps
        2
    """

    def __init__(self) -> None:
        super().__init__(_total_variation, "TotalVariation()", backbones=())


class L2(Objective):
    """Mean squared distance of the pixels from mid-grey; subtract it to keep contrast low.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 8, 8), 0.5)
        >>> L2()(type("Acts", (), {"canvas": grey}))
        tensor([0.])
    """

    def __init__(self) -> None:
        super().__init__(lambda acts: (acts.canvas - 0.5).square().mean((1, 2, 3)), "L2()", backbones=())


class Diversity(Objective):
    """How unlike the other seeds' pictures of the same objective a picture is, to its backbone: 0 to 1.

    One minus the mean cosine similarity of the Gram matrices of its tokens (Olah et al. 2017, "Diversity"; the tokens
    are centred first, or all Gram matrices are alike). Zero for a picture on its own: use it with several `seeds`,
    which then go through a backbone at once, and take the memory of all of them.

    Example:
        >>> import usae_train as ut, usae_viz as uv
        >>> faces = uv.Concept(3) + 0.5 * Diversity()
        >>> list(uv.maximize(ut.load("demo"), faces, seeds=2, steps=2, views=1).images)[:2]
        ['vit-seed-0', 'dino-seed-0']
    """

    def __init__(self) -> None:
        super().__init__(_diversity, "Diversity()", backbones=(), whole_batch=True)


def _total_variation(acts: Activations) -> Tensor:  # (batch,)
    across, down = acts.canvas.diff(dim=-1).abs(), acts.canvas.diff(dim=-2).abs()
    return across.mean((1, 2, 3)) + down.mean((1, 2, 3))


def _diversity(acts: Activations) -> Tensor:  # (batch,)
    from torch import eye
    from torch.nn import functional

    n = len(acts.tokens)
    if n == 1:
        return acts.tokens.sum((1, 2, 3)) * 0.0
    tokens = acts.tokens.flatten(1, 2)  # (batch, view * token, width)
    tokens = tokens - tokens.mean((0, 1))
    gram = (tokens.mT @ tokens).flatten(1)
    flat = gram.norm(dim=1) < 1e-12  # tokens all alike: such pictures are as alike as can be
    gram = functional.normalize(gram, dim=1)
    alike = gram @ gram.T + (flat[:, None] & flat).to(gram.dtype)
    others = 1 - eye(n, device=alike.device)
    diversity: Tensor = 1 - (alike * others).sum(1) / (n - 1)
    return diversity
