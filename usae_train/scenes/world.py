"""Scenes with ground truth: overlapping objects on a background, and each factor's value at every pixel.

A scene is drawn in two steps. `draw_parameters` takes every random decision (colour, texture, shape, place, light, ...)
from one CPU generator; `render_scenes` turns them into pixels without chance. So one factor of one object can be
changed with the rest held, and the same generator gives the same scenes on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from usae_train.scenes.factors import BACKGROUND, COLOURS, FACTORS, SHAPES, TEXTURES

SIZE = 96
MAX_OBJECTS = 4
PLACES_TRIED = 12  # places tried for an object; the one that hides least of the others is taken
NOISE = 0.02  # largest standard deviation of the pixel noise of a scene
PLAIN_SHARE = 0.25  # share of its surfaces that are solid, beyond those that chance makes so


@dataclass(frozen=True)
class SceneParameters:
    """Every decision behind n scenes; surface 0 is the background, 1.. are the objects from back to front."""

    colour: Tensor  # (n, surfaces) index into COLOURS
    texture: Tensor  # (n, surfaces) index into TEXTURES
    shape: Tensor  # (n, surfaces) index into SHAPES
    present: Tensor  # (n, surfaces) bool
    centre: Tensor  # (n, surfaces, 2) x, y as a share of the picture
    radius: Tensor  # (n, surfaces) share of the picture's width
    angle: Tensor  # (n, surfaces) radians
    period: Tensor  # (n, surfaces) texture period, pixels of a 96 px picture
    phase: Tensor  # (n, surfaces, 2) texture offset, in periods
    tone: Tensor  # (n, surfaces) the texture's second tone: 0 darkens the colour, 1 lightens it
    tint: Tensor  # (n, surfaces, 3) small deviation of the colour
    light: Tensor  # (n, 3) brightness at the centre, slope along x, slope along y
    noise: Tensor  # (n,) standard deviation of the sensor noise
    seed: Tensor  # (n,) seed of the sensor noise

    def __len__(self) -> int:
        return len(self.light)

    def select(self, scenes: Tensor | slice) -> "SceneParameters":
        """The parameters of some of the scenes, by index or slice."""
        return SceneParameters(**{name: value[scenes] for name, value in vars(self).items()})

    def with_values(self, **changes: Tensor) -> "SceneParameters":
        """A copy with some decisions replaced: one-factor flips are made so."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes: `images` (n, 3, size, size) float 0..1; `labels` {factor: (n, size, size) uint8}.

    `surface` (n, size, size) uint8 says which of a scene's surfaces is seen where; 0 is the background.
    """

    images: Tensor
    labels: dict[str, Tensor]
    surface: Tensor

    def to(self, device: torch.device | str) -> "Scenes":
        """The same scenes on a device."""
        labels = {factor: value.to(device) for factor, value in self.labels.items()}
        return Scenes(self.images.to(device), labels, self.surface.to(device))


def draw_parameters(
    n: int, generator: torch.Generator, zoomed: float = 0.0, noise: float = NOISE, plain: float = PLAIN_SHARE
) -> SceneParameters:
    """Draw the decisions behind n scenes.

    Args:
        n: number of scenes.
        generator: a CPU generator; the only source of chance.
        zoomed: share of scenes in which one object or a bare surface fills the frame.
        noise: largest standard deviation of the pixel noise, in units of the 0..1 range.
        plain: share of surfaces that are solid, beyond those that chance makes so.
    """
    surfaces = MAX_OBJECTS + 1

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def choice(n_values: int) -> Tensor:
        return torch.randint(n_values, (n, surfaces), generator=generator)

    texture = choice(len(TEXTURES))
    texture[uniform(surfaces) < plain] = TEXTURES.index("solid")
    count = torch.randint(1, MAX_OBJECTS + 1, (n, 1), generator=generator)
    shape = choice(len(SHAPES) - 1) + 1
    shape[:, 0] = BACKGROUND
    radius = uniform(surfaces, low=0.2, high=0.4)
    centre = _apart(uniform(surfaces, PLACES_TRIED, 2, low=0.15, high=0.85), radius)
    is_zoomed = uniform() < zoomed
    fill = is_zoomed & (uniform() < 0.4)
    count[is_zoomed] = 1
    count[fill] = 0
    radius = torch.where(is_zoomed[:, None], uniform(surfaces, low=0.4, high=1.2), radius)
    return SceneParameters(
        colour=choice(len(COLOURS)),
        texture=texture,
        shape=shape,
        present=torch.arange(surfaces) <= count,
        centre=centre,
        radius=radius,
        angle=uniform(surfaces, high=2 * torch.pi),
        period=uniform(surfaces, low=7.0, high=13.0),
        phase=uniform(surfaces, 2),
        tone=torch.randint(2, (n, surfaces), generator=generator).float(),
        tint=torch.randn(n, surfaces, 3, generator=generator) * 0.025,
        light=torch.stack(
            [uniform(low=0.8, high=1.05), uniform(low=-0.12, high=0.12), uniform(low=-0.12, high=0.12)], 1
        ),
        noise=uniform(high=noise),
        seed=torch.randint(2**31, (n,), generator=generator),
    )


def draw(
    n: int,
    generator: torch.Generator,
    size: int = SIZE,
    zoomed: float = 0.0,
    noise: float = NOISE,
    plain: float = PLAIN_SHARE,
) -> Scenes:
    """Draw and render n scenes: pictures (n, 3, size, size) and per-pixel labels. See `draw_parameters`."""
    return render_scenes(draw_parameters(n, generator, zoomed, noise, plain), size)


def _apart(places: Tensor, radius: Tensor) -> Tensor:
    """Of the places (n, surfaces, places, 2) tried for each surface, those that overlap the earlier ones least.

    Objects still overlap when there are several; drawn anywhere, four of them hid each other's shapes.
    """
    centre = places[:, :, 0].clone()
    for surface in range(2, places.shape[1]):
        earlier = centre[:, None, 1:surface]  # (n, 1, earlier, 2)
        touch = 0.75 * (radius[:, surface, None] + radius[:, 1:surface])[:, None]
        gap = ((places[:, surface, :, None] - earlier).norm(dim=-1) - touch).amin(-1).clamp_max(0.0)  # (n, places)
        centre[:, surface] = places[:, surface].gather(1, gap.argmax(1)[:, None, None].expand(-1, 1, 2))[:, 0]
    return centre


def render_scenes(
    parameters: SceneParameters, size: int = SIZE, device: torch.device | str = "cpu", labelled: bool = True
) -> Scenes:
    """Turn decisions into pixels. The light and the noise change no label.

    Args:
        parameters: of some scenes.
        size: px.
        device: where to render.
        labelled: whether labels, and which surface is seen, are asked for; they are zeros otherwise.
    """
    n, surfaces = parameters.colour.shape
    on_device = SceneParameters(**{name: value.to(device) for name, value in vars(parameters).items()})
    axis = (torch.arange(size, device=device) + 0.5) / size
    x, y = axis[None, None, :], axis[None, :, None]

    images = torch.zeros(n, 3, size, size, device=device)
    labels = {factor: torch.zeros(n, size, size, dtype=torch.uint8, device=device) for factor in FACTORS}
    visible = torch.zeros(n, size, size, dtype=torch.uint8, device=device)
    palette = torch.tensor(list(COLOURS.values()), device=device)
    for surface in range(surfaces):
        rows = on_device.present[:, surface].nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        objects = _Surface(**{f: getattr(on_device, f)[rows, surface] for f in _Surface.__dataclass_fields__})
        u, v = _turn(x - objects.centre[:, 0, None, None], y - objects.centre[:, 1, None, None], objects.angle)
        inside = torch.ones(len(rows), size, size, device=device)
        if surface > 0:
            distance = _by_value(objects.shape, _SHAPE_DISTANCE, u, v, objects.radius[:, None, None])
            inside = (0.5 - distance * size).clamp(0, 1)
        scale = SIZE / objects.period[:, None, None]
        pattern = _by_value(
            objects.texture,
            _PATTERNS,
            u * scale + objects.phase[:, 0, None, None],
            v * scale + objects.phase[:, 1, None, None],
            objects.radius[:, None, None],
        )
        base = (palette[objects.colour] + objects.tint)[..., None, None].clamp(0, 1)
        second = torch.where(objects.tone[:, None, None, None] > 0, 0.12 * base + 0.86, 0.22 * base)
        painted = base + (second - base) * pattern[:, None]
        images[rows] = torch.lerp(images[rows], painted, inside[:, None])
        if not labelled:
            continue
        for factor in FACTORS:
            value = getattr(objects, factor)[:, None, None].to(torch.uint8)
            labels[factor][rows] = torch.where(inside > 0.5, value, labels[factor][rows])
        visible[rows] = torch.where(inside > 0.5, surface, visible[rows])

    light = on_device.light[..., None, None]
    images *= (light[:, 0] + light[:, 1] * (2 * x - 1) + light[:, 2] * (2 * y - 1))[:, None]
    images += _sensor_noise(parameters, size).to(device) * on_device.noise[:, None, None, None]
    return Scenes(images.clamp_(0, 1), labels, visible)


@dataclass(frozen=True)
class _Surface:
    """One layer of the scenes that have it; each field has the scenes as its first axis."""

    colour: Tensor
    texture: Tensor
    shape: Tensor
    centre: Tensor
    radius: Tensor
    angle: Tensor
    period: Tensor
    phase: Tensor
    tone: Tensor
    tint: Tensor


def _sensor_noise(parameters: SceneParameters, size: int) -> Tensor:
    """Standard normal noise (n, 3, size, size): each scene's own seed picks a window of one shared field.

    A draw per scene would cost more than the rest of the rendering.
    """
    count = 3 * size * size
    field = _noise_field(2 * count + 2**18)
    start = parameters.seed % (len(field) - count)
    return torch.stack([field[s : s + count] for s in start.tolist()]).view(-1, 3, size, size)


@cache
def _noise_field(length: int) -> Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(20250710))


def _turn(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * x + sin * y, cos * y - sin * x


def _by_value(
    values: Tensor, functions: dict[int, Callable[..., Tensor]], u: Tensor, v: Tensor, radius: Tensor
) -> Tensor:
    """Apply to each row the function of its value, each function once and on its own rows only."""
    result = torch.empty_like(u)
    for value, function in functions.items():
        rows = (values == value).nonzero().squeeze(1)
        if len(rows):
            result[rows] = function(u[rows], v[rows], radius[rows])
    return result


# Signed distances to a shape's edge, in shares of the picture's width: negative inside. Areas are roughly equal.
def _polygon(u: Tensor, v: Tensor, apothem: Tensor, sides: int) -> Tensor:
    angles = torch.arange(sides, device=u.device) * (2 * torch.pi / sides)
    return torch.stack([u * a.cos() + v * a.sin() for a in angles]).amax(0) - apothem


def _star(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    turn = torch.atan2(v, u)
    points = (turn * 5 / (2 * torch.pi)) % 1.0
    return (u.square() + v.square()).sqrt() - radius * (1.25 - 1.7 * (0.5 - (points - 0.5).abs()))


def _cross(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    a, b = u.abs(), v.abs()
    return torch.minimum(torch.maximum(a - radius, b - 0.34 * radius), torch.maximum(b - radius, a - 0.34 * radius))


_SHAPE_DISTANCE: dict[int, Callable[..., Tensor]] = {
    SHAPES.index("circle"): lambda u, v, r: (u.square() + v.square()).sqrt() - 0.9 * r,
    SHAPES.index("square"): lambda u, v, r: _polygon(u, v, 0.8 * r, 4),
    SHAPES.index("triangle"): lambda u, v, r: _polygon(u, v, 0.6 * r, 3),
    SHAPES.index("star"): _star,
    SHAPES.index("ring"): lambda u, v, r: ((u.square() + v.square()).sqrt() - 0.75 * r).abs() - 0.25 * r,
    SHAPES.index("cross"): _cross,
}


# Patterns: 0 where the surface has its colour, 1 where it has its second tone. u, v are in periods; the colour keeps
# at least half of the surface, so that a patch's colour can be named.
def _soft(edge: Tensor) -> Tensor:
    return (edge * 6 + 0.5).clamp(0, 1)


def _wave(u: Tensor) -> Tensor:
    """A triangle wave, 0.5 at whole periods and -0.5 halfway between."""
    return (u % 1.0 - 0.5).abs() * 2 - 0.5


def _speckle(u: Tensor, v: Tensor, _: Tensor) -> Tensor:
    """Random cells of a third of a period; the hash is whole-number arithmetic, so the same on every machine."""
    i, j = (u * 3).floor().to(torch.int64), (v * 3).floor().to(torch.int64)
    h = (i * 374761393 + j * 668265263) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) % 100 < 40).to(u.dtype)


_PATTERNS: dict[int, Callable[..., Tensor]] = {
    TEXTURES.index("solid"): lambda u, v, r: torch.zeros_like(u),
    TEXTURES.index("stripes"): lambda u, v, r: _soft(_wave(u) - 0.05),
    TEXTURES.index("checker"): lambda u, v, r: _soft(_wave(u / 1.4) * _wave(v / 1.4) * 4),
    TEXTURES.index("dots"): lambda u, v, r: _soft(0.33 - ((u % 1.0 - 0.5).square() + (v % 1.0 - 0.5).square()).sqrt()),
    TEXTURES.index("grid"): lambda u, v, r: _soft(torch.maximum(_wave(u), _wave(v)) - 0.28),
    TEXTURES.index("speckle"): _speckle,
}
