"""Coupled pictures: one picture per backbone around a common layout, so that they can be compared part by part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from usae_viz.parameterizations.start import Parameterization


class CoupledImage(nn.Module):
    """Pictures of a group share one latent and each add a smaller offset: `draw(common + OFFSET_SCALE * offset)`.

    Everything that helps all backbones goes to the common latent, whose gradient is the sum of theirs; a backbone's
    offset starts at zero and, under Adam, which moves every number alike, goes a fifth as far.

    Args:
        image: any parameterization; pictures of a group must start equal.
        groups: (pictures,) number of the group that each picture belongs to, 0, 1, ....

    Example:
        >>> from usae_viz.parameterizations import FourierImage
        >>> CoupledImage(FourierImage(seeds=[0, 0, 0], size=48), groups=[0, 0, 0])().shape
        torch.Size([3, 3, 48, 48])
    """

    OFFSET_SCALE = 0.2
    groups: Tensor

    def __init__(self, image: Parameterization, groups: Sequence[int]) -> None:
        super().__init__()
        self.learning_rate = image.learning_rate
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        first = [list(groups).index(group) for group in range(max(groups) + 1)]
        self.common = nn.Parameter(image.latent.detach()[first].clone())
        self.offset = nn.Parameter(torch.zeros_like(image.latent))
        image.latent.requires_grad_(False)
        self.image = image

    def forward(self) -> Tensor:
        return self.image.canvases(self.common[self.groups] + self.OFFSET_SCALE * self.offset)
