"""The atlas's plane: near is alike, the same each time; the quick sum of forces against the sum over all pairs."""

import pytest
import torch
from torch.nn.functional import normalize

import usae_train as ut
from usae_viz.explorer.atlas import atlas_data, atom_similarity
from usae_viz.explorer.tsne import exact_repulsion, nearest_points, principal_axes, repulsion, tsne


def families(count=12, size=20, width=16):
    """Points in well separated families, one after the other."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(count, width, generator=generator).repeat_interleave(size, 0)
    return normalize(middles + 0.4 * torch.randn(count * size, width, generator=generator), dim=1)


def share_within(plane, size=20):
    """Of each point's 5 nearest in the plane, how many are of its family."""
    places = nearest_points(plane, 5)[0]
    return (places // size == torch.arange(len(plane))[:, None] // size).float().mean().item()


def test_what_is_alike_lies_together():
    points = families()
    plane = tsne(points)
    assert share_within(plane) > 0.98
    assert share_within(plane) > share_within(principal_axes(points, 0)) + 0.1


def test_the_layout_is_the_same_each_time():
    points = families()
    assert torch.equal(tsne(points), tsne(points))


@pytest.mark.parametrize("spread", [1e-2, 3.0, 20.0])
def test_forces_are_those_of_all_pairs(spread):
    plane = spread * torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    expected = exact_repulsion(plane)
    assert (repulsion(plane) - expected).norm() < 0.06 * expected.norm()


def test_forces_of_two_points_by_hand():
    plane = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    # 1/(1+4)² * 2 = 0.08 apart, over the sum of 1/(1+4) both ways, 0.4
    assert torch.allclose(exact_repulsion(plane), torch.tensor([[-0.2, 0.0], [0.2, 0.0]]))


def test_nearest_by_hand():
    points = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    places, distances = nearest_points(points, 1)
    assert places.flatten().tolist() == [1, 0, 3, 2]
    assert distances.flatten().tolist() == [1.0, 1.0, 0.25, 0.25]


def test_likeness_is_the_mean_cosine(usae):
    rows = atom_similarity(usae)
    cosines = [normalize(usae.dictionary(name), dim=1) for name in usae.names]
    expected = sum(own @ own.T for own in cosines) / len(cosines)
    assert torch.allclose(rows @ rows.T, expected, atol=1e-5)


def test_cards_that_are_no_concept_have_no_place(usae):
    concepts = [None, *range(10), None]
    atlas = atlas_data(usae, concepts)
    assert [at is None for at in atlas.x] == [concept is None for concept in concepts]
    placed = [value for axis in (atlas.x, atlas.y) for value in axis if value is not None]
    assert (min(placed), max(placed)) == (0.0, 1.0)


def test_few_concepts_have_no_atlas(usae):
    assert atlas_data(usae, list(range(7))) is None
    assert atlas_data(None, list(range(12))) is None


def test_equal_dictionaries_have_a_place_too():
    usae = ut.USAE({"left": 4}, 9, 2)
    with torch.no_grad():
        for parameter in usae.parameters():
            parameter.fill_(1.0)
    atlas = atlas_data(usae, list(range(9)))
    assert all(0 <= value <= 1 for value in (*atlas.x, *atlas.y))
