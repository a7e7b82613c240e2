import pytest
import torch

import usae_viz as uv
from usae_viz.optimization.drawing import canvas_specs
from usae_viz.parameterizations import CoupledImage, FourierImage, PixelImage

QUICK = {"views": 2, "size": 32}


def test_coupled_pictures_are_closer_to_each_other_than_pictures_of_ones_own(usae):
    apart, coupled = (
        uv.maximize(usae, uv.Concept(3), mode=mode, steps=12, **QUICK).images for mode in ("per-model", "coupled")
    )
    assert list(coupled) == ["left", "right"]
    distance = (coupled["left"] - coupled["right"]).abs().mean()
    assert 0.002 < distance < 0.5 * (apart["left"] - apart["right"]).abs().mean()


def test_a_group_an_objective_and_seed(usae):
    """All of a group start at the same picture, which is the one of its seed."""
    drawn = uv.maximize(usae, uv.Concept(3), mode="coupled", seeds=2, steps=2, snapshots=1, **QUICK)
    first = {name: frames[0] for name, frames in drawn.frames.items()}
    assert list(first) == ["left-seed-0", "right-seed-0", "left-seed-1", "right-seed-1"]
    for seed in (0, 1):
        assert torch.equal(first[f"left-seed-{seed}"], first[f"right-seed-{seed}"])
        assert torch.equal(first[f"left-seed-{seed}"], FourierImage([seed], 32)()[0])
    second = {name: frames[1] for name, frames in drawn.frames.items()}
    assert not torch.equal(second["left-seed-0"], second["right-seed-0"])


def test_the_common_latent_gets_all_gradients_and_each_offset_its_pictures():
    image = PixelImage([0, 0, 1], 4)
    start = image.latent.detach().clone()
    coupled = CoupledImage(image, [0, 0, 1])
    assert (coupled.offset == 0).all()
    assert torch.equal(coupled(), PixelImage([0, 0, 1], 4)())
    assert {name for name, p in coupled.named_parameters() if p.requires_grad} == {"common", "offset"}
    coupled.image.draw = lambda latent: latent  # so that gradients can be worked out by hand
    (coupled() * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)).sum().backward()
    assert coupled.common.grad[:, 0, 0, 0].tolist() == [11, 100]
    assert torch.allclose(coupled.offset.grad[:, 0, 0, 0], 0.2 * torch.tensor([1.0, 10.0, 100.0]))
    assert torch.equal(coupled.common.detach(), start[[0, 2]])


@pytest.mark.parametrize(
    ("objective", "mode", "seeds", "expected"),
    [
        (uv.Concept(3), "per-model", 1, {"left": ("left",), "right": ("right",)}),
        (uv.Concept(3), "shared", 1, {"shared": ("left", "right")}),
        (uv.Channel("right", 3), "per-model", 1, {"right": ("right",)}),
        (uv.Channel("right", 3), "shared", 1, {"shared": ("right",)}),
        (uv.Channel("right", 3), "coupled", 2, {"right-seed-4": ("right",), "right-seed-5": ("right",)}),
        (uv.Concept(3, backbone="left") - uv.Concept(3, backbone="right"), "shared", 1, {"shared": ("left", "right")}),
        (uv.Concept(3, backbone="left") - uv.L2(), "per-model", 1, {"left": ("left",)}),
        (uv.TotalVariation(), "per-model", 1, {"left": ("left",), "right": ("right",)}),
        (uv.Concept(3), "shared", 2, {"shared-seed-4": ("left", "right"), "shared-seed-5": ("left", "right")}),
    ],
    ids=str,
)
def test_which_pictures_are_drawn_and_who_sees_them(usae, objective, mode, seeds, expected):
    settings = uv.MaximizeSettings(mode=mode, seeds=seeds, seed=4)
    pictures = canvas_specs(usae, objective, settings)
    assert {picture.name: picture.backbones for picture in pictures} == expected
    if seeds == 2:
        assert [picture.seed for picture in pictures] == [int(picture.name[-1]) for picture in pictures]


def test_several_seeds_are_several_pictures_with_scores_of_their_own(usae, tmp_path):
    drawn = uv.maximize(usae, uv.Concept(3), seed=3, seeds=2, steps=3, **QUICK)
    names = ["left-seed-3", "right-seed-3", "left-seed-4", "right-seed-4"]
    assert list(drawn.images) == list(drawn.scores.table) == names
    assert not torch.equal(drawn.images["left-seed-3"], drawn.images["left-seed-4"])
    assert drawn.scores.drawn_for["right-seed-4"] == ("right",)
    assert set(drawn.scores.seed_agreement) == {"left", "right"}
    drawn.save(tmp_path)
    assert {p.stem for p in (tmp_path / "concept-00003").glob("*.png")} == {*names, "sheet"}


def test_an_objective_of_a_backbone_that_is_not_there_names_the_nearest(usae):
    with pytest.raises(ValueError, match="unknown backbone 'rigth'; this USAE has left, right; did you mean 'right'"):
        uv.maximize(usae, uv.Channel("rigth", 3), steps=1, **QUICK)


def test_a_difference_of_backbones_is_raised_in_the_one_and_lowered_in_the_other(usae):
    seen = []
    apart = uv.Concept(5, backbone="left") - uv.Concept(5, backbone="right")
    settings = {**QUICK, "mode": "shared", "steps": 32, "augmentation": "none"}  # every step is shown the same
    uv.maximize(usae, apart, progress=lambda done, scores: seen.append(scores), **settings)
    assert seen[-1]["left"] > seen[0]["left"] + 1
    assert seen[-1]["right"] > seen[0]["right"] + 1  # minus the concept's strength
