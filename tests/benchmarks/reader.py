"""Reads the colour and the texture of a picture, by means that took no part in drawing it.

Colour: each pixel's hue against the palette. Texture: a small convolutional network (no backbone is one) trained here
on scenes. Both read the middle of the picture (three quarters of its side), which every crop shows.
"""

import itertools

import torch
from kornia.color import rgb_to_hsv
from torch import Tensor, nn
from torch.nn import functional

from usae_train.demo.pretrain import degrade
from usae_train.scenes import world as scenes
from usae_train.scenes.factors import COLOURS, TEXTURES, patch_shares

GREY_SATURATION = 0.25


def middle(pictures: Tensor) -> Tensor:
    """The middle of pictures (n, 3, size, size)."""
    edge = pictures.shape[-1] // 8
    return pictures[..., edge:-edge, edge:-edge]


def read_colour(pictures: Tensor) -> list[str]:
    """The name of the colour that most of a picture has.

    A pixel votes with its brightness: for grey where it is hardly saturated, else for the nearest hue. (Until the votes
    were pixels' they were their chroma, and one yellow spot made a black, grey and white picture yellow.)
    """
    names = list(COLOURS)
    palette = rgb_to_hsv(torch.tensor([COLOURS[name] for name in names]).view(1, -1, 3, 1).transpose(1, 2))[0, 0, :, 0]
    hue, saturation, value = rgb_to_hsv(middle(pictures)).flatten(2).unbind(1)
    distance = ((hue[..., None] - palette + torch.pi) % (2 * torch.pi) - torch.pi).abs()
    distance[..., names.index("grey")] = torch.inf
    nearest = torch.where(saturation < GREY_SATURATION, names.index("grey"), distance.argmin(-1))
    votes = (functional.one_hot(nearest, len(names)) * value[..., None]).sum(1)
    return [names[i] for i in votes.argmax(-1).tolist()]


def colour_accuracy(count: int = 400, seed: int = 12) -> float:
    """The share of bare surfaces of any texture, lit and noisy, whose colour `read_colour` names."""
    drawn = scenes.draw(count, torch.Generator().manual_seed(seed), zoomed=1.0, noise=0.1, plain=0.0)
    bare = (drawn.surface.flatten(1) == 0).all(1)
    truth = [list(COLOURS)[row] for row in drawn.labels["colour"][bare, 0, 0].tolist()]
    colours = read_colour(drawn.images[bare])
    return sum(bool(a == b) for a, b in zip(colours, truth, strict=True)) / len(truth)


class TextureReader(nn.Module):
    """A convolutional network that names the texture at each of 12 x 12 places of a 96 px picture."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 32, 64, 96, 128]
        layers: list[nn.Module] = []
        for low, high in itertools.pairwise(widths):
            layers += [nn.Conv2d(low, high, 3, padding=1), nn.BatchNorm2d(high), nn.ReLU()]
            layers += [nn.Conv2d(high, high, 3, padding=1), nn.BatchNorm2d(high), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if high < widths[-1] else []
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], len(TEXTURES), 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, 96, 96) -> logits (n, textures, 12, 12)."""
        logits: Tensor = self.body(pictures - 0.5)
        return logits

    @torch.no_grad()
    def read(self, pictures: Tensor, side: int = 96) -> list[str]:
        """The texture that the places of the middle agree on, of pictures brought to a side; 192 shows them nearer."""
        pictures = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
        shares = middle(self.eval()(pictures).softmax(1)).mean((2, 3))
        return [TEXTURES[i] for i in shares.argmax(1).tolist()]


def train_texture_reader(steps: int = 500, batch: int = 32, seed: int = 11) -> tuple[TextureReader, float]:
    """Train the reader on scenes; returns it and its accuracy on places of scenes that it was not trained on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = TextureReader()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(reader.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for step in range(steps + 1):
        drawn = scenes.draw(batch, generator, zoomed=0.6, noise=0.1)
        shares = patch_shares(drawn.labels["texture"], len(TEXTURES), (12, 12)).mT.unflatten(2, (12, 12))
        if step == steps:
            break
        loss = functional.cross_entropy(reader(degrade(drawn.images, generator)), shares)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        accuracy = (reader.eval()(drawn.images).argmax(1) == shares.argmax(1)).float().mean().item()
    return reader.eval(), accuracy
