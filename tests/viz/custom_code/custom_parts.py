"""Parts of somebody's own, right and wrong, as tests give them: as text of a file, or imported from here."""

import torch
from torch import nn


class Plain(nn.Module):
    learning_rate = 0.1

    def __init__(self, shape, generator):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(shape, generator=generator) / 4)

    def forward(self):
        return self.logits.sigmoid()


class Layered(nn.Module):
    """Weights as torch draws them, and decorrelated colour."""

    decorrelated = True

    def __init__(self, shape, generator):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer("ground", torch.randn(shape, generator=generator))

    def forward(self):
        return 3 * self.layer(self.ground)

    def begin_at(self, canvas):
        self.ground.copy_(canvas[None])


def jittered(views, generator):
    """Views of fewer pixels, by this image's chance and by torch's own."""
    shift = int(torch.randint(4, (1,), generator=generator))
    return (views + 0.1 * torch.randn_like(views))[..., shift : shift - 4, 2:-2]


def dimmed(views, _):
    return 0.9 * views
