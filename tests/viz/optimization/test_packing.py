import pytest
import torch

import usae_viz as uv
from usae_viz.optimization.batching import bytes_per_picture, max_batch_size
from usae_viz.optimization.maximize import view_config_for
from usae_viz.views.presets import AUGMENTATION_PRESETS
from usae_viz.views.viewing import ViewConfig


def taken(usae, crops, size=48):
    return bytes_per_picture(ViewConfig(usae, AUGMENTATION_PRESETS["none"], crops), usae.backbones, size)


def test_a_picture_takes_as_much_more_as_it_has_crops(usae):
    a_crop = taken(usae, 2) - taken(usae, 1)
    assert a_crop > 4 * 3 * 48 * 48 * 4  # more than the views alone
    for crops in (2, 5, 24):
        assert taken(usae, crops) - taken(usae, 1) == (crops - 1) * a_crop


def test_weights_are_counted_once_however_many_crops_there_are(usae):
    """Autograd keeps a linear layer's transposed weight, which is not a parameter."""
    canvas, a_crop = 20 * 3 * 48 * 48 * 4, taken(usae, 2) - taken(usae, 1)
    linear = {
        name: sum(4 * module.weight.numel() for module in backbone.modules() if isinstance(module, torch.nn.Linear))
        for name, backbone in usae.backbones.items()
    }
    assert 0 < taken(usae, 1) - canvas - a_crop <= 1.5 * max(linear.values())


def test_what_the_hungriest_backbone_keeps_is_counted(usae):
    """At the least, the input of each of its linear layers: (tokens, width) a view, here of 36 tokens of width 16."""
    canvas_and_views = 20 * 3 * 48 * 48 * 4 + 4 * 3 * 48 * 48 * 4
    by_backbone = {
        name: bytes_per_picture(ViewConfig(usae, AUGMENTATION_PRESETS["none"], 1), {name: backbone}, 48)
        for name, backbone in usae.backbones.items()
    }
    assert by_backbone["right"] - canvas_and_views > 4 * 36 * 16 * 4
    backwards = dict(reversed(usae.backbones.items()))
    for order in (usae.backbones, backwards):
        assert bytes_per_picture(ViewConfig(usae, AUGMENTATION_PRESETS["none"], 1), order, 48) == max(
            by_backbone.values()
        )


def test_measuring_leaves_no_gradients_behind(usae):
    before = torch.random.get_rng_state()
    taken(usae, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(p.grad is None for backbone in usae.backbones.values() for p in backbone.parameters())


def test_on_the_cpu_it_is_one_picture_at_a_time(usae):
    view_config = ViewConfig(usae, AUGMENTATION_PRESETS["none"], 6)
    assert max_batch_size(view_config, 48, None) == 1
    assert max_batch_size(view_config, 48, 100.0) == 1


def test_a_limit_of_just_what_one_picture_takes_is_enough(usae):
    view_config = ViewConfig(usae, AUGMENTATION_PRESETS["none"], 6)
    needed = taken(usae, 6) / 1e9
    assert max_batch_size(view_config, 48, needed * 1.001) == 1
    with pytest.raises(ValueError, match=r"the limit is .*; lower --views or --size, or raise --memory$"):
        max_batch_size(view_config, 48, needed * 0.999)


def test_all_canvases_of_an_objective_are_there_all_the_time(usae):
    """Only one goes through a backbone at a time."""
    view_config, canvas = ViewConfig(usae, AUGMENTATION_PRESETS["none"], 2), 20 * 3 * 48 * 48 * 4
    assert bytes_per_picture(view_config, usae.backbones, 48, canvases=7) == taken(usae, 2) + 6 * canvas
    limit = (taken(usae, 2) + 3.5 * canvas) / 1e9
    settings = {"size": 48, "views": 2, "memory": limit, "augmentation": "none", "dtype": "float32"}
    for seeds, mode in ((2, "per-model"), (4, "shared")):  # four canvases each
        view_config_for(usae, uv.MaximizeSettings(seeds=seeds, mode=mode, **settings))
        with pytest.raises(ValueError, match=r"\d pictures of one objective, 48 px: about .* GB with 2 views, and the"):
            view_config_for(usae, uv.MaximizeSettings(seeds=seeds + 1, mode=mode, **settings))


def test_too_little_memory_is_one_line(usae):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        uv.maximize(usae, uv.Concept(3), memory=0.003, views=7, size=64, seeds=2)
    text = str(caught.value)
    assert text.startswith("4 pictures of one objective, 64 px: about 0.0")
    assert text.endswith(
        "GB with 7 views, and the limit is 0.003; lower --views or --size or --seeds, or raise --memory"
    )
    assert "\n" not in text


@pytest.mark.parametrize("mode", ["per-model", "shared"])
@pytest.mark.parametrize(
    ("crops", "size", "seeds", "advice"),
    [
        (2, 64, 2, "lower --views or --size or --seeds, or raise --memory"),
        (2, 64, 1, "lower --views or --size, or raise --memory"),
        (1, 64, 2, "lower --size or --seeds, or raise --memory"),
        (2, 16, 2, "lower --views or --seeds, or raise --memory"),
        (1, 64, 1, "lower --size, or raise --memory"),
        (1, 16, 2, "lower --seeds, or raise --memory"),
        (1, 16, 1, "raise --memory"),
    ],
)
def test_too_little_memory_says_what_helps_and_nothing_else(usae, mode, crops, size, seeds, advice):
    settings = {"dtype": "float32", "augmentation": "none", "mode": mode}
    asked = uv.MaximizeSettings(views=crops, size=size, seeds=seeds, **settings)
    canvases = 1 if mode == "shared" else 2
    least = bytes_per_picture(ViewConfig(usae, AUGMENTATION_PRESETS["none"], 1), usae.backbones, 16, canvases)
    with pytest.raises(ValueError, match=f"the limit is .*; {advice}$"):
        view_config_for(
            usae, asked.model_copy(update={"memory": least / 1e9 * (0.999 if advice == "raise --memory" else 1.0001)})
        )
    with pytest.raises(ValueError, match=r"the limit is \S+; raise --memory$"):  # not even the least of all fits
        view_config_for(usae, asked.model_copy(update={"memory": least / 1e9 * 0.999}))


@pytest.mark.parametrize("mode", ["per-model", "shared"])
def test_pictures_that_are_compared_have_to_fit_together(usae, mode):
    """Three pictures through a backbone at once; without Diversity it is one after the other."""
    alone, compared = uv.Concept(3), uv.Concept(3) + 0.5 * uv.Diversity()
    canvas, canvases = 20 * 3 * 48 * 48 * 4, 3 if mode == "shared" else 6
    needed = taken(usae, 3 * 2) + (canvases - 1) * canvas  # as one picture with three times as many crops
    settings = {
        "size": 48,
        "views": 2,
        "augmentation": "none",
        "dtype": "float32",
        "mode": mode,
        "steps": 1,
        "seeds": 3,
    }
    drawn = uv.maximize(usae, compared, memory=needed * 1.0001 / 1e9, **settings)
    assert len(drawn.images) == canvases
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        uv.maximize(usae, compared, memory=needed * 0.99 / 1e9, **settings)
    text = str(caught.value)
    assert text.startswith(f"{canvases} pictures of one objective, 48 px, 3 of which are compared in a backbone: ab")
    assert text.endswith("lower --views or --size or --seeds, or raise --memory")
    assert len(uv.maximize(usae, alone, memory=needed * 0.99 / 1e9, **settings).images) == canvases
    uv.maximize(usae, compared, memory=needed * 0.99 / 1e9, **{**settings, "seeds": 2})  # what is said helps


def test_more_pictures_than_any_memory_holds_are_refused_before_they_are_counted_out(usae):
    with pytest.raises(ValueError, match="20000 pictures of 4096 px are drawn at the same time for 10000 "):
        uv.maximize(usae, uv.Concept(3), size=4096, seeds=10_000)
    with pytest.raises(
        ValueError, match=r"^10000 pictures .* GB of memory, and there is .* GB; lower --seeds or --size$"
    ):
        uv.maximize(usae, uv.Concept(3), size=4096, seeds=10_000, mode="shared")


@pytest.mark.parametrize(("name", "bound"), [("seeds", 10_000), ("steps", 10**9), ("views", 10_000)])
def test_no_number_is_without_a_bound(usae, name, bound):
    with pytest.raises(ValueError, match=f"{name} = 1{'0' * 30}: expected at most {bound}$"):
        uv.maximize(usae, uv.Concept(3), **{name: 10**30})
