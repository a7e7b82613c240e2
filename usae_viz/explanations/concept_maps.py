"""What one backbone sees in one photograph: its concepts' codes at its own grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.statistics import FIRING_THRESHOLD
from usae_train.runtime.warning_kinds import FormerName


@dataclass(frozen=True)
class ConceptActivity:
    """One concept in a photograph through one backbone."""

    concept: int
    name: str | None
    peak: float  # its largest code
    area: float  # share of the patches in which it fires (code > 0.1)
    place: tuple[int, int]  # row and column of the peak, in the backbone's own grid

    def __str__(self) -> str:
        name_suffix = f" {self.name}" if self.name else ""
        return f"concept {self.concept}{name_suffix}: peak {self.peak:.2f}, area {self.area:.0%}"


@dataclass(frozen=True)
class ConceptMaps:
    """Dense codes of a photograph through one backbone."""

    codes: Tensor  # (n_concepts, rows, cols)

    @classmethod
    def from_codes(cls, codes: Codes, grid: tuple[int, int], n_concepts: int) -> ConceptMaps:
        """From codes (token, k), row by row."""
        return cls(codes.dense(n_concepts).mT.unflatten(1, grid).cpu())

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols), the backbone's own."""
        return self.codes.shape[1], self.codes.shape[2]

    @property
    def peaks(self) -> Tensor:
        """(n_concepts,): each concept's largest code."""
        return self.codes.flatten(1).amax(1)

    @property
    def areas(self) -> Tensor:
        """(n_concepts,): share of the patches in which each fires."""
        return (self.codes > FIRING_THRESHOLD).float().flatten(1).mean(1)

    @property
    def firing(self) -> list[int]:
        """The concepts that fire somewhere, the strongest first."""
        order = self.peaks.argsort(descending=True, stable=True).tolist()
        return order[: int((self.areas > 0).sum())]

    def activity(self, concept: int, name: str | None) -> ConceptActivity:
        """What one concept does here."""
        codes = self.codes[concept]
        row, col = divmod(int(codes.argmax()), self.grid[1])
        return ConceptActivity(
            concept, name, codes.max().item(), (codes > FIRING_THRESHOLD).float().mean().item(), (row, col)
        )

    seen = FormerName("activity")
