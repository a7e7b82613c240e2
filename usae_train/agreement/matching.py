"""Which concepts of several trainings are one: atoms matched over all backbones' dictionaries at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

# Cosine from which on two atoms are one concept, as Paulo and Belrose 2025 (arXiv 2501.16615) have it; with 0.5 twice
# as many are kept, and two spaces agree to 0.65 instead of 0.75 (tests/benchmarks/consensus.py has the table).
ALIKE = 0.7
ROUNDS = 10  # of assigning and averaging, at most: the worlds of that script settle within 6


class Clusters(NamedTuple):
    """Concepts that several trainings have.

    Attributes:
        members: (clusters, trainings) long, each training's concept, -1 where it has none.
        centres: (clusters, joint width), unit norm: the mean direction of the members' joint rows.
    """

    members: Tensor
    centres: Tensor

    @property
    def share(self) -> Tensor:
        """(clusters,), the share of the trainings in which each came back."""
        return (self.members >= 0).float().mean(1)

    def at_least(self, share: float) -> Clusters:
        """Those that came back in so many trainings, the most frequent first, else in the order that they have."""
        order = self.share.argsort(descending=True, stable=True)
        kept = order[self.share[order] >= share - 1e-6]
        return Clusters(self.members[kept], self.centres[kept])


def cluster(rows: Sequence[Tensor], alike: float = ALIKE, rounds: int = ROUNDS) -> Clusters:
    """Put concepts of several trainings together, at most one of each training in a cluster.

    The nearest pairs are joined first, and no two concepts of a training; then, until nothing changes, each cluster's
    mean is taken and each training's concepts are assigned to the means, one to one, so that their cosines' sum is
    largest. No training is the reference: a concept may be missing in any.

    Args:
        rows: a training each, (concepts, joint width): a concept's rows of all backbones, one after another.
        alike: cosine with a cluster's mean from which on a concept belongs to it.
        rounds: of assigning and averaging, at most.

    Returns:
        Every cluster, of one training's concept alone too.
    """
    units = [functional.normalize(own, dim=1) for own in rows]
    members = of_several(joined_pairs(units, alike))
    for _ in range(rounds):
        centres = means_of(units, members)
        assigned = of_several(torch.stack([assign(own, centres, alike) for own in units], 1))
        if assigned.shape == members.shape and bool((assigned == members).all()):
            break
        members = assigned
    members = torch.cat([members, left_over(units, members)])
    return Clusters(members, means_of(units, members))


def of_several(members: Tensor) -> Tensor:
    """Those clusters (clusters, trainings) that two trainings or more have."""
    return members[(members >= 0).sum(1) >= 2]


def left_over(units: Sequence[Tensor], members: Tensor) -> Tensor:
    """(concepts, trainings): each concept that is in none of the clusters (clusters, trainings), alone."""
    alone = []
    for training, own in enumerate(units):
        taken = torch.zeros(len(own), dtype=torch.bool)
        taken[members[:, training][members[:, training] >= 0]] = True
        concepts = (~taken & (own.norm(dim=1) > 0)).nonzero().squeeze(1)
        rows = torch.full((len(concepts), len(units)), -1, dtype=torch.long)
        rows[:, training] = concepts
        alone.append(rows)
    return torch.cat(alone)


def joined_pairs(units: Sequence[Tensor], alike: float) -> Tensor:
    """(clusters, trainings): the nearest pairs first, each concept with its nearest of every other training.

    Args:
        units: a training each, (concepts, joint width), unit norm; a row of zeros is in no cluster.
        alike: smallest cosine of a pair.
    """
    pairs = []
    for one in range(len(units)):
        for other in range(one + 1, len(units)):
            cosine, nearest = (units[one] @ units[other].T).max(1)
            for concept in (cosine >= alike).nonzero().squeeze(1).tolist():
                pairs.append((-cosine[concept].item(), one, concept, other, int(nearest[concept])))
    cluster_of: dict[tuple[int, int], dict[int, int]] = {
        (training, concept): {training: concept}
        for training, own in enumerate(units)
        for concept in (own.norm(dim=1) > 0).nonzero().squeeze(1).tolist()
    }
    for _, one, concept, other, match in sorted(pairs):
        first, second = cluster_of[one, concept], cluster_of[other, match]
        if first.keys().isdisjoint(second):
            first.update(second)
            for each in second.items():
                cluster_of[each] = first
    distinct = {id(own): own for own in cluster_of.values()}.values()
    table = [[own.get(training, -1) for training in range(len(units))] for own in distinct]
    return torch.tensor(table, dtype=torch.long).view(-1, len(units))


def means_of(units: Sequence[Tensor], members: Tensor) -> Tensor:
    """(clusters, joint width), unit norm: the mean of each cluster's members, (clusters, trainings)."""
    return functional.normalize(sums_of_members(units, members), dim=1)


def sums_of_members(rows: Sequence[Tensor], members: Tensor) -> Tensor:
    """(clusters, width): the sum of each cluster's rows, of a training each (concepts, width)."""
    total = rows[0].new_zeros(len(members), rows[0].shape[1])
    for training, own in enumerate(rows):
        there = members[:, training] >= 0
        total[there] += own[members[there, training]]
    return total


def assign(units: Tensor, centres: Tensor, alike: float) -> Tensor:
    """(clusters,) long: one training's concept of each cluster, -1 for none.

    Args:
        units: (concepts, joint width), unit norm.
        centres: (clusters, joint width), unit norm.
        alike: smallest cosine of a concept with its cluster's mean.
    """
    cosines = units @ centres.T
    concepts, clusters = (torch.as_tensor(own) for own in linear_sum_assignment(cosines.numpy(), maximize=True))
    near = cosines[concepts, clusters] >= alike
    found = torch.full((len(centres),), -1, dtype=torch.long)
    found[clusters[near]] = concepts[near]
    return found
