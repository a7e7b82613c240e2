"""The registry: every variant that has a file in this folder, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import usae_train.model.sparsity as package
from usae_train.files.kinds import chosen_kind, kinds_in, read_kind
from usae_train.model.sparsity.variant import Sparsity
from usae_train.runtime.errors import UsageError


@cache
def variants() -> Mapping[str, type[Sparsity]]:
    """{kind: variant}, by name."""
    return kinds_in(package, Sparsity)  # type: ignore[type-abstract]


def read_sparsity(settings: Any) -> Sparsity:
    """The variant that a config.json's `sparsity` names.

    Raises:
        ValueError: for a kind that is unknown, or settings that it does not have.
    """
    return read_kind(settings, variants(), "sparsity")


def trained_sparsity(settings: Any) -> Sparsity:
    """The variant that a training's `sparsity` names: a kind alone, or a mapping of it and its settings.

    Raises:
        ValueError: for one that is unknown, or that cannot be trained.
    """
    chosen = chosen_kind(settings, Sparsity, variants(), "sparsity")  # type: ignore[type-abstract]
    if not chosen.can_train:
        able = ", ".join(kind for kind, variant in sorted(variants().items()) if variant(kind=kind).can_train)
        raise UsageError(f"sparsity {chosen} is read from files, and not asked of a training; expected {able}")
    return chosen
