"""The interface of a format: how it is recognized, read, and where possible written."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from usae_train.runtime.errors import UsageError
from usae_train.sae_formats.sae import SparseAutoencoder

# Why gated autoencoders are not read.
GATED = "one pre-code decides whether a concept is active and another how strongly, and a USAE has one per concept"


@dataclass(frozen=True)
class UserAnswers:
    """What the user states about an autoencoder where its file does not; None where the file does."""

    k: int | None = None
    threshold: float | None = None


class Format(ABC):
    """A library's files. A subclass in a file beside this one is found by its `name`."""

    name: ClassVar[str]
    asks: ClassVar[frozenset[str]] = frozenset()  # the fields of `UserAnswers` that its files do not state

    @abstractmethod
    def recognizes(self, place: Path) -> bool:
        """Whether a folder or file has this format, by names and first bytes only."""

    @abstractmethod
    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """Read one.

        Raises:
            ValueError: for what is broken, or cannot be reproduced exactly; names it.
        """

    def check_answers_used(self, answers: UserAnswers) -> None:
        """Refuse an option that the file itself states, or an impossible one."""
        for key, answer in vars(answers).items():
            if answer is not None and key not in self.asks:
                raise UsageError(f"{key} is {answer}, but a file of {self.name} states it; leave it out")
        if answers.threshold is not None and not math.isfinite(answers.threshold):
            raise UsageError(f"threshold is {answers.threshold}; expected a number that is finite")

    def write(self, sae: SparseAutoencoder, folder: Path) -> None:
        """Write one into an empty folder.

        Raises:
            ValueError: for a format that is not written, or a sparsity that it does not have.
        """
        raise UsageError(f"{self.name} can be read, but not written; expected --format saelens or sparsify")
