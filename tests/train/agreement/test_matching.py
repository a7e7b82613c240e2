"""Which concepts of several trainings are one, on atoms that are made up."""

import itertools

import pytest
import torch

from usae_train.agreement.consensus import mean_rows
from usae_train.agreement.matching import ALIKE, Clusters, cluster


def rotated(angle: float) -> list[float]:
    """A unit vector of the plane, its angle in degrees."""
    return torch.tensor(angle).deg2rad().cos().item(), torch.tensor(angle).deg2rad().sin().item()


def sets(clusters: Clusters) -> set[tuple[int, ...]]:
    return {tuple(row) for row in clusters.members.tolist()}


def test_concepts_of_three_trainings_find_each_other_whatever_their_order():
    first = torch.tensor([rotated(0), rotated(90), rotated(200)])
    second = torch.tensor([rotated(95), rotated(5)])
    third = torch.tensor([rotated(-5), rotated(290), rotated(85)])
    found = cluster([first, second, third])
    assert sets(found) == {(0, 1, 0), (1, 0, 2), (2, -1, -1), (-1, -1, 1)}
    kept = found.at_least(0.5)
    assert kept.members.tolist() in ([[0, 1, 0], [1, 0, 2]], [[1, 0, 2], [0, 1, 0]])
    assert kept.share.tolist() == [1, 1]
    assert torch.allclose(kept.centres.amax(1), torch.ones(2), atol=1e-3)  # the means are at 0 and 90 degrees


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_trainings_changes_no_cluster(order):
    drawn = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0))
    wanted = sets(cluster(list(drawn)))
    found = cluster([drawn[place] for place in order])
    back = torch.tensor(order).argsort()
    assert {tuple(row) for row in found.members[:, back].tolist()} == wanted
    assert 0 < sum(-1 in row for row in wanted) < len(wanted)


def test_no_two_concepts_of_a_training_are_one():
    twins = torch.tensor([rotated(0), rotated(1)])
    found = cluster([twins, torch.tensor([rotated(0.4)])])
    assert sets(found) == {(0, 0), (1, -1)}


def test_what_is_no_concept_is_in_no_cluster():
    dead = torch.tensor([rotated(0), (0.0, 0.0)])
    assert sets(cluster([dead, dead])) == {(0, 0)}


def test_unlike_concepts_stay_apart():
    apart = (torch.tensor([rotated(0)]), torch.tensor([rotated(torch.tensor(ALIKE).acos().rad2deg().item() + 30)]))
    assert sets(cluster(apart)) == {(0, -1), (-1, 0)}
    assert cluster(apart).at_least(1.0).members.shape == (0, 2)


def test_a_mean_is_as_long_as_its_members():
    rows = [{"a": torch.tensor([[2.0, 0.0]])}, {"a": torch.tensor([[0.0, 0.0], [0.0, 4.0]])}]
    clusters = Clusters(torch.tensor([[0, 1]]), torch.zeros(1, 2))
    mean = mean_rows(rows, clusters)["a"][0]
    assert mean.norm() == pytest.approx(3.0)
    assert (mean / 3).tolist() == pytest.approx([2 / 20**0.5, 4 / 20**0.5])
