import pytest
import torch

import usae_viz as uv
from usae_viz.views.augmentation import augmented_views, draw_changes
from usae_viz.views.presets import AUGMENTATION_PRESETS, HELD_OUT, Augmentation

ALL = {**AUGMENTATION_PRESETS, "unseen": HELD_OUT}


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def canvases(n, size=40):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_none_shows_the_canvas_itself():
    canvas = canvases(2)
    shown = augmented_views(canvas, AUGMENTATION_PRESETS["none"], generators(0, 1), 3, 40)
    assert torch.allclose(shown, canvas[:, None].expand(-1, 3, -1, -1, -1), atol=1e-4)


@pytest.mark.parametrize("preset", ALL)
def test_a_picture_does_not_depend_on_its_batch_and_equal_generators_draw_alike(preset):
    canvas = canvases(1).expand(3, -1, -1, -1)
    together = augmented_views(canvas, ALL[preset], generators(5, 9, 5), 2, 32)
    alone = augmented_views(canvas[:1], ALL[preset], generators(5), 2, 32)
    assert torch.allclose(together[0], alone[0], atol=1e-6)
    assert torch.equal(together[0], together[2])
    if preset != "none":
        assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    augmented_views(canvases(1), AUGMENTATION_PRESETS["default"], generators(0), 2, 32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_zero_borders():
    white = torch.ones(1, 3, 40, 40)
    settings = Augmentation(crop=(0.9, 1.0), shift=0.5, rotate=180, brightness=0, contrast=0, saturation=0, noise=0)
    shown = augmented_views(white, settings, generators(0), 64, 32)
    assert shown.min() > 0.999


@pytest.mark.parametrize("preset", ALL)
def test_no_preset_shows_anything_but_the_canvas(preset):
    plain = ALL[preset].model_copy(update={"brightness": 0, "contrast": 0, "saturation": 0, "noise": 0})
    shown = augmented_views(torch.ones(2, 3, 40, 40), plain.for_patches(0.5), generators(0, 1), 32, 32)
    assert torch.allclose(shown, torch.ones(()), atol=1e-4)


def test_the_noise_of_a_view_is_as_strong_as_it_happens_to_be_up_to_the_largest():
    _, _, noise = draw_changes(Augmentation(noise=0.2), generators(0)[0], 300, 16)
    strengths = noise.flatten(1).std(1)
    assert strengths.min() < 0.01
    assert 0.18 < strengths.max() < 0.22
    assert strengths.mean() == pytest.approx(0.1, abs=0.01)
    assert noise.square().mean().sqrt() == pytest.approx(0.2 / 3**0.5, abs=0.01)  # what preset maco counts on


def test_a_crop_of_half_the_side_shows_half_of_the_canvas_twice_as_large():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    settings = Augmentation(crop=(0.5, 0.5), shift=0, rotate=0, brightness=0, contrast=0, saturation=0, noise=0)
    shown = augmented_views(ramp, settings, generators(0), 20, 64)[0]
    assert torch.allclose(shown[..., -1] - shown[..., 0], torch.tensor(0.5), atol=0.01)
    assert shown[:, 0, 0, 0].std() > 0.05  # and not always the same half


def test_gradient_reaches_the_canvas():
    canvas = canvases(1).requires_grad_()
    augmented_views(canvas, AUGMENTATION_PRESETS["default"], generators(0), 8, 32).sum().backward()
    assert (canvas.grad != 0).float().mean() > 0.9


def test_bad_settings_say_what_was_expected():
    with pytest.raises(ValueError, match="expected two shares with 0 < smallest <= largest <= 1"):
        Augmentation(crop=(0.9, 0.2))
    with pytest.raises(ValueError, match="expected a mean and a standard deviation of 0 to 1"):
        Augmentation(crop_normal=(0.3, -0.1))


def sides(settings, count=20_000):
    return draw_changes(settings, torch.Generator().manual_seed(0), count, 8)[0][:, 0]


def test_a_normal_crop_has_its_mean_and_spread_and_stays_within_the_range():
    drawn = sides(Augmentation(crop=(0.05, 1.0), crop_normal=(0.5, 0.1), noise=0))
    assert drawn.mean() == pytest.approx(0.5, abs=0.003)
    assert drawn.std() == pytest.approx(0.1, abs=0.003)
    within = ((drawn - 0.5).abs() < 0.1).float().mean()
    assert within == pytest.approx(0.683, abs=0.01)  # a uniform draw of that spread has 0.577
    cut = sides(Augmentation(crop=(0.4, 0.55), crop_normal=(0.5, 0.1), noise=0))
    assert torch.allclose(torch.stack([cut.min(), cut.max()]), torch.tensor([0.4, 0.55]))
    assert (cut == cut.min()).float().mean() == pytest.approx(0.159, abs=0.01)
    assert (cut == cut.max()).float().mean() == pytest.approx(0.309, abs=0.01)


def test_a_crop_can_be_uniform():
    drawn = sides(Augmentation(crop=(0.6, 1.0), scales="uniform", noise=0))
    assert drawn.quantile(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == pytest.approx([0.6, 0.7, 0.8, 1.0], abs=0.01)


def test_the_paper_of_maco_crops_about_a_quarter():
    drawn = sides(AUGMENTATION_PRESETS["maco"])
    assert drawn.mean() == pytest.approx(0.25, abs=0.005)
    assert drawn.min() >= 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_normal": (float("nan"), 0.1)},
        {"crop_normal": (0.2, -0.1)},
        {"crop_normal": (2, 0.1)},
        {"crop": (float("nan"), 1)},
        {"crop": (0, 1)},
        {"crop": (0.9, 0.8)},
        {"noise": float("nan")},
    ],
    ids=str,
)
def test_what_is_no_share_is_refused(wrong):
    """A crop of no known size ends torch's grid_sample, and the process with it."""
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}|finite"):
        Augmentation(**wrong)


def test_a_crop_stays_inside_but_for_the_shift():
    for shift in (0.0, 0.2):
        settings = Augmentation(crop=(0.3, 0.9), shift=shift, noise=0)
        geometry = draw_changes(settings, torch.Generator().manual_seed(0), 5000, 8)[0]
        out = ((geometry[:, 1:3] - 0.5).abs() + geometry[:, :1] / 2 - 0.5) / geometry[:, :1]
        assert out.max() == pytest.approx(shift, abs=0.01)


def test_the_shift_is_half_of_the_largest_patch_unless_told(usae):
    """The tiny backbones have 4 and 6 patches a side."""
    drawn = uv.maximize(usae, uv.Concept(3), steps=1, views=1, size=32)
    assert drawn.settings.augmentation.shift == pytest.approx(1 / 8)
    assert drawn.metadata("left")["settings"]["augmentation"]["shift"] == pytest.approx(1 / 8)
    told = uv.maximize(usae, uv.Concept(3), steps=1, views=1, size=32, augmentation=Augmentation(shift=0.03))
    assert told.settings.augmentation.shift == 0.03
    assert Augmentation().for_patches(1.0).shift == 0.5
    assert Augmentation(shift=0.0).for_patches(0.25).shift == 0


def test_draws_depend_on_their_own_generator_alone():
    settings = Augmentation(shift=0.1)
    canvas = canvases(3)
    together = augmented_views(canvas, settings, generators(4, 5, 6), 3, 32)
    for row, seed in enumerate((4, 5, 6)):
        assert torch.allclose(
            together[row : row + 1], augmented_views(canvas[row : row + 1], settings, generators(seed), 3, 32)
        )


def test_draws_go_on_from_step_to_step():
    (generator,) = generators(4)
    first, second = (augmented_views(canvases(1), AUGMENTATION_PRESETS["lucid"], [generator], 2, 32) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-3)


def test_even_scales_have_one_crop_in_each_part_of_the_range_at_every_step():
    settings = Augmentation(crop=(0.25, 1.0), scales="even", noise=0)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_changes(settings, generator, 4, 8)[0][:, 0] for _ in range(500)])
    edges = torch.tensor([0.25, 0.25 * 2**0.5, 0.5, 0.5 * 2**0.5, 1.0])
    assert (drawn >= edges[:-1] - 1e-6).all()
    assert (drawn <= edges[1:] + 1e-6).all()
    within = ((drawn.log2() - edges[:-1].log2()) / 0.5).flatten()
    assert within.quantile(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0, 0.5, 1], abs=0.03)


def test_a_crop_that_shows_a_canvas_smaller_sees_every_pixel_of_it():
    """Lines of one pixel are grey from afar, not black or white as the points happen to fall."""
    lines = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    settings = Augmentation(crop=(0.5, 1.0), shift=0, rotate=0, brightness=0, contrast=0, saturation=0, noise=0)
    whole = augmented_views(lines, settings.model_copy(update={"crop": (1.0, 1.0)}), generators(0), 1, 32)
    assert torch.allclose(whole, torch.tensor(0.5), atol=1e-3)
    half = augmented_views(lines, settings.model_copy(update={"crop": (0.5, 0.5)}), generators(0), 8, 32)
    assert half.max() - half.min() > 0.5  # a pixel of the view for one of the canvas: as it is


def test_whole_views_are_large_where_the_augmentation_shows_as_much():
    assert Augmentation(crop=(0.2, 1.0)).of_the_whole().crop == (0.6, 1.0)
    assert Augmentation(crop=(0.8, 1.0)).of_the_whole().crop == (0.8, 1.0)
    for small in (AUGMENTATION_PRESETS["maco"], Augmentation(crop=(0.2, 0.5))):
        assert small.of_the_whole() is small
