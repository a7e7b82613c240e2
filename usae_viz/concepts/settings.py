"""What a list of concepts can be asked for, and the names that concepts go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from usae_train.files.validation import Settings

DEFAULT_ROWS = 30  # concepts, unless a number is given
Sort = Literal["universality", "energy", "entropy", "fires", "auroc", "agreement", "index"]
UsaeName = Annotated[str, Field(description="`demo`, `photos`, a USAE folder or a hub id")]
UserLabels = Annotated[
    str | None,
    Field(
        description="your own names for concepts, beside those that the USAE has: the JSON that the explorer "
        "exports. `favourites` stands for all that are marked as such in it",
    ),
]


class ConceptsSettings(Settings):
    """Whose concepts are listed, and in which order."""

    FORMER: ClassVar[Mapping[str, str]] = {"limit": "top"}

    usae: UsaeName = "demo"
    sort: Sort = Field("universality", description="universality, energy, entropy, fires, auroc, agreement or index.")
    private: str | None = Field(
        None,
        description="only concepts private to this backbone, where the USAE was trained with such",
    )
    labels: UserLabels = None
    top: int | None = Field(
        None,
        ge=1,
        description=f"how many are listed; by default {DEFAULT_ROWS}, or all with --json or --named",
    )

    @property
    def order(self) -> Sort:
        """What they are sorted by: private ones, which have no universality, by energy by default."""
        return self.sort if "sort" in self.model_fields_set else default_sort(self.private)


def default_sort(private: str | None) -> Sort:
    """What a list of all concepts is sorted by, or of those that are private to a backbone."""
    return ConceptsSettings().sort if private is None else "energy"
