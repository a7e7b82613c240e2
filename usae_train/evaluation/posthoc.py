"""The post-hoc baseline: sparse autoencoders trained one backbone at a time, and aligned afterwards.

Half of the pictures match concepts that are active together; the other half measures what one backbone's codes, carried
over, explain of another's tokens. A joint space has to beat this.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.metrics import Reconstruction, match_one_to_one
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE

PAIR_CHUNK_SIZE = 2_000_000  # pairs of active concepts added to a table at a time: 16 MB of indices


class PostHoc:
    """What independent autoencoders share, as sums over two halves of the pictures.

    Args:
        independent: {backbone: a USAE of that backbone alone}.
    """

    def __init__(self, independent: Mapping[str, USAE]) -> None:
        self.independent = dict(independent)
        names = list(independent)
        self.alone = Reconstruction(names, names)  # each by itself, all pictures
        self.cross = Reconstruction(names, names)  # aligned, the measuring half
        # sums over the matching half: z_a z_b of every two concepts, and z^2 of every concept
        self.together: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}
        self.partners: dict[str, Tensor] = {}  # {"a>b": (concepts,) the concept of b that stands for each of a's}
        self.gains: dict[str, Tensor] = {}  # {"a>b": (concepts,) the factor that its code is multiplied by}

    def add(self, tokens: Mapping[str, Tensor], matching: bool) -> None:
        """Add tokens {backbone: (n, width)}, to match by or to measure on."""
        codes = {name: sae.encode(name, tokens[name]) for name, sae in self.independent.items()}
        for name, sae in self.independent.items():
            self.alone.add_tokens(name, tokens[name])
            self.alone.add_decoded(name, name, tokens[name], sae.decode(name, codes[name]))
        if matching:
            self._count(codes)
        elif self.partners:
            self._measure(tokens, codes)

    def align(self) -> None:
        """Match every two backbones' concepts one to one by the cosine of their codes over the matching half.

        The Hungarian method; a carried-over code is scaled by the least-squares gain. The tables are freed. Where no
        picture of the matching half could be read, nothing is aligned or measured.
        """
        if not self.together:
            return
        for name, other in combinations(self.independent, 2):
            table = self.together[f"{name}>{other}"]
            norms = self.squares[name].sqrt()[:, None] * self.squares[other].sqrt()
            partner = match_one_to_one((table / norms.clamp_min(1e-12)).nan_to_num(0.0))
            for source, target, sums in ((name, other, table), (other, name, table.T)):
                if source == other:
                    back = torch.full((table.shape[1],), -1, dtype=torch.long)
                    matched = partner >= 0
                    back[partner[matched]] = matched.nonzero().squeeze(1)
                    partner = back
                product = sums.gather(1, partner.clamp_min(0)[:, None])[:, 0]
                gain = product / self.squares[source].clamp_min(1e-12)
                self.partners[f"{source}>{target}"] = partner.clamp_min(0)
                self.gains[f"{source}>{target}"] = torch.where(partner >= 0, gain, 0.0)
        self.together = {}

    @property
    def measured(self) -> bool:
        """Whether there were pictures to match by, and others to measure on."""
        return bool(self.cross.totals)

    def carry(self, source: str, target: str, codes: Codes) -> Codes:
        """Codes of one backbone's autoencoder as those of another's."""
        key = f"{source}>{target}"
        partner, gain = (t[key].to(codes.indices.device) for t in (self.partners, self.gains))
        return Codes(codes.values * gain[codes.indices].to(codes.values.dtype), partner[codes.indices])

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, and the alignment."""
        return {
            "own": self.alone.state_dict(),
            "cross": self.cross.state_dict(),
            **self.matching_state(),
            "partners": self.partners,
            "gains": self.gains,
        }

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add another's sums to these; there is only one alignment."""
        self.alone.merge(state["own"])
        self.cross.merge(state["cross"])
        self.partners, self.gains = state["partners"] or self.partners, state["gains"] or self.gains
        if not self.partners:
            self.merge_matching(state)

    def matching_state(self) -> dict[str, Any]:
        """What other processes need to align in the same way."""
        return {"together": self.together, "squares": self.squares}

    def merge_matching(self, state: Mapping[str, Any]) -> None:
        """Add another's matching half."""
        for totals, new in ((self.together, state["together"]), (self.squares, state["squares"])):
            for key, total in new.items():
                totals[key] = totals[key] + total if key in totals else total

    def _count(self, codes: Mapping[str, Codes]) -> None:
        for name, sae in self.independent.items():
            sums = self.squares.setdefault(name, torch.zeros(sae.n_concepts))
            sums.index_add_(0, codes[name].indices.cpu().flatten(), codes[name].values.cpu().flatten().square())
        for name, other in combinations(self.independent, 2):
            shape = self.independent[name].n_concepts, self.independent[other].n_concepts
            table = self.together.setdefault(f"{name}>{other}", torch.zeros(shape))
            a, b = codes[name], codes[other]
            step = max(1, PAIR_CHUNK_SIZE // (a.values.shape[1] * b.values.shape[1]))
            for first in range(0, len(a.values), step):
                (u, i), (v, j) = (
                    (c.values[first : first + step].cpu(), c.indices[first : first + step].cpu()) for c in (a, b)
                )
                places = i[:, :, None] * shape[1] + j[:, None, :]
                table.view(-1).index_add_(0, places.flatten(), (u[:, :, None] * v[:, None, :]).flatten())

    def _measure(self, tokens: Mapping[str, Tensor], codes: Mapping[str, Codes]) -> None:
        for target, sae in self.independent.items():
            self.cross.add_tokens(target, tokens[target])
            for source in self.independent:
                carried = codes[source] if source == target else self.carry(source, target, codes[source])
                self.cross.add_decoded(source, target, tokens[target], sae.decode(target, carried))
