"""Free dictionaries: a step may change rows in any way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from usae_train.training.dictionaries.variant import DictionaryKind


class Free(DictionaryKind):
    """Rows that a step changes directly."""

    kind: Literal["free"] = "free"

    def rows(self, name: str, starts: Mapping[str, Tensor], pool: Mapping[str, Tensor], unit_norm: bool) -> None:
        """None: they are changed directly."""
