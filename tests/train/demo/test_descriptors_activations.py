import pytest
import torch

from usae_train.demo.activations import known_world
from usae_train.demo.descriptors import colour_histogram, local_texture, nearest_centre, outlines


def even(*rgb: float, size: int = 48) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, size, size).contiguous()


@pytest.mark.parametrize(
    ("rgb", "place"), [((1, 0, 0), 0), ((0, 1, 0), 8), ((0, 0, 1), 16), ((1, 1, 1), 27), ((0, 0, 0), 24)]
)
def test_a_pure_colour_falls_into_one_cell_of_the_histogram(rgb: tuple[float, ...], place: int) -> None:
    histogram = colour_histogram(even(*rgb), (2, 2))
    expected = torch.zeros(28)
    expected[place] = 1
    torch.testing.assert_close(histogram[0], expected.expand(4, 28), atol=1e-4, rtol=0)


def test_a_hue_between_two_cells_is_shared_out() -> None:
    histogram = colour_histogram(even(1.0, 0.125, 0.0), (1, 1))[0, 0]  # hue 7.5 degrees, half of a cell
    assert histogram[:2].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_histograms_belong_to_their_patch_and_sum_to_one() -> None:
    image = even(1, 0, 0)
    image[..., 24:] = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    histogram = colour_histogram(image, (1, 2))
    assert histogram[0, 0].argmax() == 0
    assert histogram[0, 1].argmax() == 8
    noise = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(colour_histogram(noise, (4, 4)).sum(-1), torch.ones(2, 16))


def test_texture_has_no_orientation() -> None:
    stripes = (torch.arange(48) // 4 % 2).float().expand(1, 3, 48, 48).contiguous()
    upright, turned = local_texture(stripes, (4, 4)), local_texture(stripes.mT.contiguous(), (4, 4))
    turned = turned.unflatten(1, (4, 4)).transpose(1, 2)
    torch.testing.assert_close(upright.unflatten(1, (4, 4)), turned, atol=1e-2, rtol=1e-2)
    checks = (stripes - stripes.mT).abs()
    assert (local_texture(checks, (4, 4)) - upright).abs().max() > 1


def test_an_even_surface_has_no_texture() -> None:
    texture = local_texture(even(0.3, 0.6, 0.1), (4, 4))
    assert texture.shape == (1, 16, 24)
    assert texture[..., :-1].abs().max() < 0.01


def disc(x: float, y: float, radius: float, size: int = 96) -> torch.Tensor:
    axis = torch.arange(size) + 0.5
    return ((axis - x).square() + (axis[:, None] - y).square() < radius**2).to(torch.uint8)[None]


def test_the_outline_of_a_disc_by_hand() -> None:
    """Rings of a quarter of the radius have areas of 1, 3, 5 and 7 sixteenths; no turn stands out."""
    found = outlines(disc(48, 48, 40))[0]
    assert found[0, :4].tolist() == pytest.approx([1 / 16, 3 / 16, 5 / 16, 7 / 16], abs=0.02)
    assert found[0, 4:].abs().max() < 0.02
    assert found[1:].abs().max() == 0, "objects that are not there"


def test_an_outline_is_the_same_wherever_it_is_however_large_and_turned() -> None:
    bar = torch.zeros(1, 96, 96, dtype=torch.uint8)
    bar[0, 8:20, 4:64] = 3
    same = [bar, bar.mT, torch.zeros_like(bar), torch.zeros_like(bar)]
    same[2][0, 70:82, 30:90] = 3
    same[3][0, 50:56, 60:90] = 3
    across = [outlines(each)[0, 2] for each in same]
    for other in across[1:]:
        torch.testing.assert_close(other, across[0], atol=0.05, rtol=0)  # 45 pixels are looked at in the small one
    assert (across[0] - outlines(disc(48, 48, 40))[0, 0]).norm() > 0.5


def test_nearest_centre_by_hand() -> None:
    points = torch.tensor([[[0.1, 0.0], [0.9, 1.2]]])
    assert nearest_centre(points, torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist() == [[1, 0]]


def test_a_known_world_is_its_shared_code_and_more() -> None:
    world = known_world(200, torch.Generator().manual_seed(0), {"a": 16, "b": 12}, shared=20, active=3, noise=0.0)
    assert ((world.code > 0).sum(1) == 3).all()
    for name, width in (("a", 16), ("b", 12)):
        torch.testing.assert_close(world.atoms[name].norm(dim=1), torch.ones(52))
        torch.testing.assert_close(world.code_part[name], world.code @ world.atoms[name][:20])
        private = world.tokens[name] - world.code_part[name]
        own = world.atoms[name][20:]
        assert private.shape == (200, width)
        rest = private - private @ torch.linalg.pinv(own) @ own
        assert rest.abs().max() < 1e-4
    again = known_world(200, torch.Generator().manual_seed(1), {"a": 16, "b": 12}, shared=20, active=3, truth=world)
    assert torch.equal(again.atoms["a"], world.atoms["a"])
    assert not torch.equal(again.code, world.code)


def test_popular_concepts_of_a_known_world_come_first() -> None:
    world = known_world(2000, torch.Generator().manual_seed(0), {"a": 8}, shared=20, active=2)
    share = (world.code > 0).float().mean(0)
    assert share[0] > 2 * share[5] > 0
    assert share[5] > share[19]
