import pytest
import torch

import usae_viz as uv
import usae_viz.optimization.maximize
from usae_viz.optimization.loop import CanvasSpec, InvalidImageScore, batch_rows, compute_gradients, share_of_largest
from usae_viz.views.presets import AUGMENTATION_PRESETS
from usae_viz.views.viewing import ViewConfig

QUICK = {"views": 2, "size": 32, "dtype": "float32"}


def interrupt_at(step):
    def progress(done, _):
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_keeps_the_best_so_far_and_says_so(usae):
    with pytest.warns(UserWarning, match="stopped by hand after 3 of 8 steps; the best so far is kept"):
        result = uv.maximize(usae, uv.Concept(3), steps=8, snapshots=1, progress=interrupt_at(3), **QUICK)
    assert result.ended == "stopped by hand after 3 of 8 steps; the best so far is kept"
    assert not result.failed
    assert result.scores["left"]["left"].rank >= 1
    for name, image in result.images.items():
        seen = result.frames[name][:-1]
        assert len(seen) == 3
        assert any(torch.equal(image, canvas) for canvas in seen)


def test_ctrl_c_before_the_first_step_is_done_is_passed_on(usae):
    @uv.objective
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        uv.maximize(usae, interrupted, steps=8, **QUICK)


def not_finite_from(step, value):
    """A score through `left` that is not finite from a step on; rises before."""
    calls = []

    @uv.objective
    def broken(acts):
        if acts.backbone == "left":
            calls.append(1)
        return uv.Concept(3)(acts) * (value if len(calls) >= step else 1.0)

    return broken


def of_another_shape_from(step, backbone):
    """One score for all pictures, from a step on through a backbone."""
    calls = []

    @uv.objective
    def changing(acts):
        calls.append(acts.backbone)
        values = uv.Concept(3)(acts)
        return values if calls.count(backbone) < step else values.mean()

    return changing


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_lost_later_keeps_the_best_so_far(usae, value):
    with pytest.warns(UserWarning, match="the score through left is not finite at step 3; the best so far is kept"):
        result = uv.maximize(usae, not_finite_from(4, value), steps=8, snapshots=1, **QUICK)
    assert result.failed
    for name, image in result.images.items():
        assert image.isfinite().all()
        assert any(torch.equal(image, canvas) for canvas in result.frames[name][:-1])


def test_a_score_of_another_shape_later_keeps_the_best_so_far(usae):
    words = (
        r"objective changing returned \(\) through right; expected one score per picture, \(1,\) at step 2; the best so"
    )
    with pytest.warns(UserWarning, match=words):
        result = uv.maximize(usae, of_another_shape_from(3, "right"), steps=8, snapshots=1, **QUICK)
    assert result.failed
    assert any(torch.equal(result.images["left"], canvas) for canvas in result.frames["left"])


def test_after_an_ending_by_hand_no_further_objective_is_begun_and_after_a_loss_the_next(usae):
    settings = uv.MaximizeSettings(steps=4, **QUICK)
    lost = list(uv.maximize_each(usae, [not_finite_from(2, float("nan")), uv.Concept(5)], settings))
    assert [result.failed for result in lost] == [True, False]
    assert lost[1].ended is None
    stopped = list(uv.maximize_each(usae, [uv.Concept(3), uv.Concept(5)], settings, interrupt_at(2)))
    assert [str(result.objective) for result in stopped] == ["Concept(3)"]


@pytest.fixture
def packed(monkeypatch):
    """Three objectives at once, as on a GPU."""
    monkeypatch.setattr(usae_viz.optimization.maximize, "max_batch_size", lambda *_: 3)


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("value", [float("nan"), "shape"])
def test_a_lost_score_ends_its_own_objective_and_not_the_others_of_its_pack(usae, value):
    """As if they had been drawn one by one: those beside it are whole."""
    settings = uv.MaximizeSettings(steps=5, **QUICK)
    told = []
    broken = not_finite_from(4, value) if value != "shape" else of_another_shape_from(4, "left")
    pack = [uv.Concept(5), broken, uv.Concept(3), uv.Concept(4)]
    results = list(uv.maximize_each(usae, pack, settings, lambda done, scores: told.append(done)))
    assert [result.objective for result in results] == pack
    assert [result.failed for result in results] == [False, True, False, False]
    assert "through left" in results[1].ended
    assert "at step 3; the best so far is kept" in results[1].ended
    for place in (0, 2, 3):
        assert results[place].ended is None
        (alone,) = uv.maximize_each(usae, [pack[place]], settings)
        assert all(torch.equal(alone.images[name], image) for name, image in results[place].images.items())
    assert told == [1, 2, 3, *[1, 2, 3, 4, 5] * 3]  # with the lost one, before it, behind it, and the next pack


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("stop", [5, 10])
def test_ctrl_c_while_the_others_of_a_pack_are_drawn_again_ends_all(usae, stop):
    settings, told = uv.MaximizeSettings(steps=5, **QUICK), []

    def interrupting(done, _):
        told.append(done)
        if len(told) == stop:  # the second step of what stood before the lost one, or of what stands behind it
            raise KeyboardInterrupt

    pack = [uv.Concept(5), not_finite_from(4, float("nan")), uv.Concept(3), uv.Concept(4)]
    results = list(uv.maximize_each(usae, pack, settings, interrupting))
    assert [result.failed for result in results] == [False, True, False][: 1 if stop == 5 else 3]
    assert results[-1].cut_short
    assert results[-1].ended.startswith("stopped by hand after 2 of 5 steps")


@pytest.mark.usefixtures("packed")
def test_a_score_that_is_lost_at_once_lets_the_others_of_its_pack_be_drawn_first(usae):
    settings = uv.MaximizeSettings(steps=2, **QUICK)
    drawing = uv.maximize_each(usae, [uv.Concept(5), not_finite_from(1, float("nan")), uv.Concept(3)], settings)
    first = next(drawing)
    assert (str(first.objective), first.ended) == ("Concept(5)", None)
    with pytest.raises(ValueError, match="the score through left is not finite at step 0; check the objective broken"):
        next(drawing)


@pytest.mark.usefixtures("packed")
def test_each_of_two_lost_scores_of_a_pack_ends_its_own_objective(usae):
    """That of the one before comes later than that of the one behind it, which is found first."""
    later, sooner = not_finite_from(5, float("nan")), not_finite_from(2, float("nan"))
    settings = uv.MaximizeSettings(steps=6, **QUICK)
    results = list(uv.maximize_each(usae, [uv.Concept(5), later, sooner], settings))
    assert [result.failed for result in results] == [False, True, True]
    assert results[0].ended is None


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_picture_that_is_lost_is_named_by_its_row(usae, batch_size):
    view_config = ViewConfig(usae, AUGMENTATION_PRESETS["none"], 1, batch_size=batch_size)
    canvas = torch.full((4, 3, 32, 32), 0.5)
    fine, broken = uv.Concept(3), not_finite_from(1, float("inf"))
    kinds = [(fine, "right"), (fine, "left"), (broken, "left"), (fine, "left")]
    pictures = [CanvasSpec(f"{row}", objective, 0, (name,)) for row, (objective, name) in enumerate(kinds)]
    generators = [torch.Generator() for _ in pictures]
    with pytest.raises(InvalidImageScore, match="the score through left is not finite") as found:
        compute_gradients(view_config, canvas, pictures, generators)
    assert found.value.row == 2
    canvas[3, 0, 0, 0] = torch.nan
    pictures[2] = pictures[1]
    with pytest.raises(InvalidImageScore, match="the picture of 3 is not finite") as found:
        compute_gradients(view_config, canvas, pictures, generators)
    assert found.value.row == 3


def level(acts):
    return uv.L2()(acts) * 0.0


def test_scores_that_have_settled_end_the_loop_early(usae):
    with pytest.warns(UserWarning, match="settled after 6 of 20 steps"):
        result = uv.maximize(usae, uv.objective(level), steps=20, patience=3, **QUICK)
    assert not result.failed
    settings = uv.MaximizeSettings(steps=20, patience=3, **QUICK)
    both = list(uv.maximize_each(usae, [uv.objective(level), uv.objective(level)], settings))
    assert [result.ended for result in both] == ["settled after 6 of 20 steps"] * 2  # the next one is begun


def test_a_score_that_rises_does_not_settle(usae):
    rising = []

    @uv.objective
    def rise(acts):
        rising.append(1)
        return level(acts) + len(rising)

    assert uv.maximize(usae, rise, steps=9, patience=2, **QUICK).ended is None


IN_COMPANY = {"steps": 3, "views": 2}


@pytest.mark.parametrize("image", ["fourier", "maco", "pixel"])
@pytest.mark.parametrize("mode", ["per-model", "shared", "coupled"])
@pytest.mark.parametrize("size", [32, 33])  # an odd side puts pictures at other places in memory
def test_a_picture_is_the_same_to_the_bit_alone_and_in_company(usae, image, mode, size):
    settings = {"image": image, "mode": mode, "size": size, **IN_COMPANY}
    alone = uv.maximize(usae, uv.Concept(3), seed=1, **settings)
    seeds = uv.maximize(usae, uv.Concept(3), seed=0, seeds=3, **settings)
    chosen = uv.MaximizeSettings(seed=1, **settings)
    concepts = list(uv.maximize_each(usae, [uv.Concept(5), uv.Concept(3)], chosen))
    assert not torch.equal(*(next(iter(result.images.values())) for result in concepts))
    for name, image_alone in alone.images.items():
        assert torch.equal(image_alone, seeds.images[f"{name}-seed-1"])
        assert torch.equal(image_alone, concepts[1].images[name])


def test_a_picture_that_settles_is_the_same_to_the_bit_alone_and_in_company(usae):
    settings = {"size": 32, "views": 1, "steps": 40, "patience": 3, "snapshots": 4, "learning_rate": 0.5}
    with pytest.warns(UserWarning, match="settled after"):
        alone = [uv.maximize(usae, uv.Concept(3), seed=seed, **settings) for seed in (0, 1, 2)]
    with pytest.warns(UserWarning, match="settled after"):
        together = uv.maximize(usae, uv.Concept(3), seed=0, seeds=3, **settings)
    assert len({result.ended for result in alone}) > 1, "they are to settle at different steps"
    for seed, result in enumerate(alone):
        for name, image in result.images.items():
            assert torch.equal(image, together.images[f"{name}-seed-{seed}"])
            assert torch.equal(result.alpha[name], together.alpha[f"{name}-seed-{seed}"])


@pytest.mark.parametrize("size", [32, 33])
def test_a_picture_is_the_same_to_the_bit_when_the_other_backbones_are_not_asked(usae, size):
    both = uv.maximize(usae, uv.Concept(3), size=size, **IN_COMPANY)
    right = uv.maximize(usae, uv.Concept(3, backbone="right"), size=size, **IN_COMPANY)
    assert torch.equal(both.images["right"], right.images["right"])


def test_who_is_looked_at_together():
    plain, joint, another = uv.Concept(3), uv.Concept(3) + uv.Diversity(), uv.Concept(3) + uv.Diversity()
    left, right = ("left",), ("right",)
    pictures = [
        CanvasSpec(str(row), objective, 0, backbones)
        for row, (objective, backbones) in enumerate(
            [(plain, left), (joint, left), (plain, right), (plain, left), (joint, left), (another, left), (plain, left)]
        )
    ]
    assert batch_rows(pictures, 1) == [[0], [3], [6], [1, 4], [5], [2]]
    assert batch_rows(pictures, 2) == [[0, 3], [6], [1, 4], [5], [2]]


def test_diversity_pushes_the_seeds_of_one_objective_apart(usae):
    settings = {"seeds": 2, "steps": 8, **QUICK}
    seen, alone = [], []
    uv.maximize(usae, uv.Diversity(), progress=lambda done, scores: seen.append(scores["left"]), **settings)
    assert 0 < seen[0] < seen[-1] <= 2
    uv.maximize(usae, uv.Diversity(), steps=1, progress=lambda done, scores: alone.append(scores["left"]), **QUICK)
    assert alone == [0]


def test_attention_is_a_share_of_its_largest():
    attention = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
    assert share_of_largest(attention).tolist() == [[[0.5, 1.0]], [[0.0, 0.0]]]
