import pytest
import torch
from torch.nn import functional

from usae_train.scenes.factors import COLOURS, FACTORS, SHAPES, TEXTURES
from usae_train.scenes.world import SceneParameters, draw, draw_parameters, render_scenes

SIZE = 48


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(n: int, seed: int = 0) -> SceneParameters:
    """Scenes of pure colours: no texture, tint, light, noise."""
    drawn = draw_parameters(n, seeded(seed), noise=0.0)
    return drawn.with_values(
        texture=torch.zeros_like(drawn.texture),
        tint=torch.zeros_like(drawn.tint),
        light=torch.tensor([1.0, 0.0, 0.0]).expand(n, 3),
    )


def test_the_same_generator_gives_the_same_scenes() -> None:
    first, again, other = (draw(4, seeded(seed), SIZE) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert all(torch.equal(value, again.labels[factor]) for factor, value in first.labels.items())
    assert not torch.equal(first.images, other.images)


def test_drawing_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    draw(2, seeded(), SIZE)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_scene_does_not_depend_on_its_batch() -> None:
    parameters = draw_parameters(6, seeded(3))
    together = render_scenes(parameters, SIZE)
    for row in (0, 4):
        alone = render_scenes(parameters.select(slice(row, row + 1)), SIZE)
        assert torch.equal(alone.images[0], together.images[row])
        assert all(torch.equal(value[0], together.labels[factor][row]) for factor, value in alone.labels.items())
    picked = render_scenes(parameters.select(torch.tensor([4, 0])), SIZE)
    assert torch.equal(picked.images, together.images[[4, 0]])


def test_pixels_and_labels_are_within_range_and_every_value_occurs() -> None:
    scenes = draw(64, seeded(), SIZE, zoomed=0.3)
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 1
    for factor, values in FACTORS.items():
        assert scenes.labels[factor].unique().tolist() == list(range(len(values)))


def test_a_plain_pixel_has_its_labels_colour() -> None:
    scenes = render_scenes(plain(12), SIZE)
    palette = torch.tensor(list(COLOURS.values()))
    expected = palette[scenes.labels["colour"].long()].movedim(-1, 1)
    exact = (scenes.images - expected).abs().amax(1) < 1e-5
    assert exact.float().mean() > 0.9, "all but the soft edges"
    edges = torch.zeros_like(exact, dtype=torch.float32)
    for value in scenes.labels.values():
        label = value[:, None].float()
        spread = functional.max_pool2d(label, 3, 1, 1) + functional.max_pool2d(-label, 3, 1, 1)
        edges = torch.maximum(edges, spread[:, 0])
    assert exact[edges == 0].float().mean() > 0.98


@pytest.mark.parametrize("factor", ["colour", "texture", "shape"])
def test_a_flip_of_one_factor_changes_that_objects_pixels_alone(factor: str) -> None:
    drawn = draw_parameters(16, seeded(5), noise=0.0)
    front = drawn.present.sum(1) - 1  # the topmost object of each scene
    rows = torch.arange(16)
    value = getattr(drawn, factor).clone()
    first = 1 if factor == "shape" else 0
    value[rows, front] = (value[rows, front] - first + 1) % (len(FACTORS[factor]) - first) + first
    before, after = render_scenes(drawn, SIZE), render_scenes(drawn.with_values(**{factor: value}), SIZE)
    hidden = drawn.present.clone()
    hidden[rows, front] = False
    without = render_scenes(drawn.with_values(present=hidden), SIZE)
    covered = (before.images != without.images).any(1) | (after.images != without.images).any(1)
    changed = (before.images != after.images).any(1)
    assert changed.flatten(1).any(1).float().mean() > 0.9
    reach = drawn.radius[rows, front] * 1.3 + 1.5 / SIZE  # no shape reaches further
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    centre = drawn.centre[rows, front]
    distance = torch.hypot(axis - centre[:, 0, None, None], axis[:, None] - centre[:, 1, None, None])
    assert not (changed & (distance > reach[:, None, None])).any()
    assert not (changed & ~covered).any()
    for other in FACTORS:
        if other != factor and factor != "shape":
            assert torch.equal(before.labels[other], after.labels[other])
    assert (before.labels[factor] != after.labels[factor]).any()


def test_light_and_noise_change_no_label() -> None:
    drawn = draw_parameters(4, seeded())
    dark = drawn.with_values(light=drawn.light * 0.5, noise=drawn.noise * 5)
    before, after = render_scenes(drawn, SIZE), render_scenes(dark, SIZE)
    assert not torch.equal(before.images, after.images)
    assert all(torch.equal(value, after.labels[factor]) for factor, value in before.labels.items())


def test_light_slopes_along_x_and_y() -> None:
    grey = plain(1).with_values(
        colour=torch.full((1, 5), list(COLOURS).index("grey")),
        present=torch.tensor([[True] + [False] * 4]),
        light=torch.tensor([[1.0, 0.2, -0.1]]),
    )
    image = render_scenes(grey, 4).images[0, 0]
    axis = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    torch.testing.assert_close(image, 0.52 * (1 + 0.2 * axis[None] - 0.1 * axis[:, None]))


def test_noise_has_the_asked_spread_and_the_scenes_seed_decides_it() -> None:
    drawn = plain(2).with_values(noise=torch.tensor([0.05, 0.05]), seed=torch.tensor([1, 10**6]))
    clean = render_scenes(drawn.with_values(noise=torch.zeros(2)), SIZE).images
    noise = render_scenes(drawn, SIZE).images - clean
    inner = (clean > 0.3) & (clean < 0.7)
    assert noise[inner].std().item() == pytest.approx(0.05, rel=0.1)
    assert not torch.equal(noise[0], noise[1])


def test_the_zoomed_share_fills_the_frame() -> None:
    drawn = draw_parameters(4000, seeded(), zoomed=0.5)
    zoomed = drawn.radius[:, 1] > 0.4
    assert zoomed.float().mean().item() == pytest.approx(0.5, abs=0.04)
    objects = drawn.present[:, 1:].sum(1)
    assert (objects[zoomed] <= 1).all()
    assert (objects[zoomed] == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert objects[~zoomed].unique().tolist() == [1, 2, 3, 4]
    assert (draw_parameters(500, seeded(), zoomed=0.0).radius <= 0.4).all()


def test_the_surface_seen_has_the_labels_of_its_paint() -> None:
    drawn = draw_parameters(6, seeded(5))
    made = render_scenes(drawn, SIZE)
    assert (made.surface.amax((1, 2)) > 0).all()
    for factor in FACTORS:
        painted = getattr(drawn, factor).gather(1, made.surface.flatten(1).long()).view_as(made.surface)
        assert torch.equal(painted.to(torch.uint8), made.labels[factor])


def test_only_surface_zero_is_background() -> None:
    drawn = draw_parameters(100, seeded())
    assert (drawn.shape[:, 0] == SHAPES.index("background")).all()
    assert (drawn.shape[:, 1:] != SHAPES.index("background")).all()
    assert drawn.present[:, 0].all()


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", torch.pi * 0.27**2),
        ("square", 0.48**2),
        ("ring", torch.pi * (0.3**2 - 0.15**2)),
        ("cross", 2 * 0.6 * 0.204 - 0.204**2),
        ("triangle", 3 * 3**0.5 * 0.18**2),
    ],
)
def test_shapes_have_the_area_of_their_formula(shape: str, area: float) -> None:
    """Surface 0 has no edge: its label is overwritten by the object's, so the label's mask is the object."""
    base = plain(1)
    shapes = torch.full((1, 5), SHAPES.index(shape))
    shapes[:, 0] = 0
    scenes = render_scenes(
        base.with_values(
            present=torch.tensor([[True, True, False, False, False]]),
            shape=shapes,
            centre=torch.full((1, 5, 2), 0.5),
            radius=torch.full((1, 5), 0.3),
            angle=torch.full((1, 5), 0.3),
        ),
        96,
    )
    found = (scenes.labels["shape"] == SHAPES.index(shape)).float().mean().item()
    assert found == pytest.approx(area, rel=0.03)


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("tone", [0.0, 1.0])
def test_the_colour_keeps_about_half_of_every_texture(texture: str, tone: float) -> None:
    base = plain(8, seed=9)
    bare = base.with_values(
        present=torch.tensor([True, False, False, False, False]).expand(8, 5),
        colour=torch.full((8, 5), list(COLOURS).index("green")),
        texture=torch.full((8, 5), TEXTURES.index(texture)),
        tone=torch.full((8, 5), tone),
    )
    images = render_scenes(bare, 96).images
    own = torch.tensor(COLOURS["green"]).view(3, 1, 1)
    second = 0.12 * own + 0.86 if tone else 0.22 * own
    nearer = (images - own).norm(dim=1) < (images - second).norm(dim=1)
    assert nearer.float().mean() > (0.999 if texture == "solid" else 0.45)
    if texture != "solid":
        assert nearer.float().mean() < 0.9
