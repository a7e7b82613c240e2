"""Which concepts of several trainings match: atoms matched over all backbones' dictionaries at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.agreement.settings import AgreementSettings

# Smallest cosine at which two atoms are one concept, as in Paulo and Belrose 2025 (arXiv 2501.16615); with 0.5 twice
# as many are kept, and two spaces agree to 0.65 instead of 0.75 (tests/benchmarks/consensus.py has the table).
ALIKE = AgreementSettings().alike


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
        """(clusters,), the share of the trainings in which each was found."""
        return (self.members >= 0).float().mean(1)

    def at_least(self, share: float) -> Clusters:
        """Those found in at least this share, the most frequent first, and otherwise in their order."""
        order = self.share.argsort(descending=True, stable=True)
        frequent = order[self.share[order] >= share - 1e-6]
        return Clusters(self.members[frequent], self.centres[frequent])


def cluster(rows: Sequence[Tensor], alike: float = ALIKE) -> Clusters:
    """Cluster the concepts of several trainings, at most one of each training in a cluster.

    Each concept is paired with the nearest one of every other training; the nearest pairs are joined first, except
    where that would put two concepts of a training together. No training is the reference: a concept may be missing in
    any. Then assigning all concepts to the clusters' means, one to one, made two spaces less alike (0.75 to 0.73 over
    the demo, 0.95 to 0.90 in the easy world of tests/benchmarks/consensus.py): it fills clusters with whatever is left.

    Args:
        rows: of each training, (concepts, joint width): a concept's rows of all backbones, one after another.
        alike: smallest cosine of a pair.

    Returns:
        Every cluster, also those with a single concept.
    """
    units = [functional.normalize(matrix, dim=1) for matrix in rows]
    members = joined_pairs(units, alike)
    return Clusters(members, means_of(units, members))


def joined_pairs(units: Sequence[Tensor], alike: float) -> Tensor:
    """(clusters, trainings): the clusters' concepts, -1 where a training has none.

    Args:
        units: of each training, (concepts, joint width), unit norm; a row of zeros is in no cluster.
        alike: smallest cosine of a pair.
    """
    pairs = []
    for training in range(len(units)):
        for other in range(training + 1, len(units)):
            cosines = units[training] @ units[other].T
            nearest = torch.zeros_like(cosines, dtype=torch.bool)
            nearest[torch.arange(len(cosines)), cosines.argmax(1)] = True
            nearest[cosines.argmax(0), torch.arange(cosines.shape[1])] = True
            for concept, match in (nearest & (cosines >= alike)).nonzero().tolist():
                pairs.append((-cosines[concept, match].item(), training, concept, other, match))
    cluster_of: dict[tuple[int, int], dict[int, int]] = {
        (training, concept): {training: concept}
        for training, rows in enumerate(units)
        for concept in (rows.norm(dim=1) > 0).nonzero().squeeze(1).tolist()
    }
    for _, training, concept, other, match in sorted(pairs):
        first, second = cluster_of[training, concept], cluster_of[other, match]
        if first.keys().isdisjoint(second):
            first.update(second)
            for each in second.items():
                cluster_of[each] = first
    distinct = {id(members): members for members in cluster_of.values()}.values()
    table = [[members.get(training, -1) for training in range(len(units))] for members in distinct]
    return torch.tensor(table, dtype=torch.long).view(-1, len(units))


def means_of(units: Sequence[Tensor], members: Tensor) -> Tensor:
    """(clusters, joint width), unit norm: the mean of each cluster's members, (clusters, trainings)."""
    return functional.normalize(sums_of_members(units, members), dim=1)


def sums_of_members(rows: Sequence[Tensor], members: Tensor) -> Tensor:
    """(clusters, width): the sum of each cluster's rows, of a training each (concepts, width)."""
    total = rows[0].new_zeros(len(members), rows[0].shape[1])
    for training, matrix in enumerate(rows):
        has_one = members[:, training] >= 0
        total[has_one] += matrix[members[has_one, training]]
    return total
