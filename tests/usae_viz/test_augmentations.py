import pytest
import torch
from pydantic import ValidationError

from usae_viz.augmentations import PRESETS, Augmentation, views


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def canvases(n, size=40):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_none_shows_the_canvas_itself():
    canvas = canvases(2)
    shown = views(canvas, PRESETS["none"], generators(0, 1), 3, 40)
    assert torch.allclose(shown, canvas[:, None].expand(-1, 3, -1, -1, -1), atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_picture_does_not_depend_on_its_batch_and_equal_generators_draw_alike(preset):
    canvas = canvases(1).expand(3, -1, -1, -1)
    together = views(canvas, PRESETS[preset], generators(5, 9, 5), 2, 32)
    alone = views(canvas[:1], PRESETS[preset], generators(5), 2, 32)
    assert torch.allclose(together[0], alone[0], atol=1e-6)
    assert torch.equal(together[0], together[2])
    if preset != "none":
        assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    views(canvases(1), PRESETS["default"], generators(0), 2, 32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_zero_borders():
    white = torch.ones(1, 3, 40, 40)
    settings = Augmentation(crop=(0.9, 1.0), shift=0.5, rotate=180, brightness=0, contrast=0, saturation=0, noise=0)
    shown = views(white, settings, generators(0), 64, 32)
    assert shown.min() > 0.999


def test_a_crop_of_half_the_side_shows_half_of_the_canvas_twice_as_large():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    settings = Augmentation(crop=(0.5, 0.5), shift=0, rotate=0, brightness=0, contrast=0, saturation=0, noise=0)
    shown = views(ramp, settings, generators(0), 20, 64)[0]
    assert torch.allclose(shown[..., -1] - shown[..., 0], torch.tensor(0.5), atol=0.01)
    assert shown[:, 0, 0, 0].std() > 0.05  # and not always the same half


def test_gradient_reaches_the_canvas():
    canvas = canvases(1).requires_grad_()
    views(canvas, PRESETS["default"], generators(0), 8, 32).sum().backward()
    assert (canvas.grad != 0).float().mean() > 0.9


def test_bad_settings_say_what_was_expected():
    with pytest.raises(ValidationError, match="expected two shares with 0 < smallest <= largest <= 1"):
        Augmentation(crop=(0.9, 0.2))
