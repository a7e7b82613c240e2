"""What every variant of dictionaries is: settings, and how a dictionary's rows are made from what a step changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from pydantic import ConfigDict
from torch import Tensor, nn

from usae_train.files.validation import FrozenModel


class DictionaryKind(FrozenModel, ABC):
    """What rows of a dictionary may be while it is trained; a USAE keeps only the rows.

    A variant is a file beside this one: a subclass with a `kind` of its own, its settings, and a module that torch
    calls the parametrization of the dictionary's weight. The module is a part of the USAE until the training is over,
    so that training states hold and check what it has.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    kind: str

    @abstractmethod
    def rows(self, name: str, starts: Mapping[str, Tensor], pool: Mapping[str, Tensor], unit_norm: bool) -> Rows | None:
        """How a dictionary's rows are made; None where a step changes them directly.

        Args:
            name: the backbone.
            starts: {backbone: (n_concepts, width)}, the unit-norm rows that all dictionaries start at.
            pool: {backbone: (tokens, width)}, standardized tokens less the offset; row n the same patch in all.
            unit_norm: rows have norm 1; otherwise any.
        """


class Rows(nn.Module):
    """A parametrization of a dictionary's weight: rows (n_concepts, width), made from what a step changes."""

    def right_inverse(self, rows: Tensor) -> Tensor:
        """What `forward` makes these rows from, besides the module's own parameters; called once."""
        raise NotImplementedError

    def project(self, original: Tensor) -> None:
        """After a step: bring what it changed back within its bounds, in place."""
