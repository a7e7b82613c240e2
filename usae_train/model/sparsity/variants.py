"""The registry: every variant that has a file in this folder, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import usae_train.model.sparsity as package
from usae_train.files.variant_registry import kinds_in, read_kind, resolve_kind, variant_setting
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
        ValueError: for one that is unknown, cannot be trained, or comes from other settings.
    """
    chosen = resolve_kind(settings, Sparsity, variants(), "sparsity", _trainable)  # type: ignore[type-abstract]
    if chosen.requested_by:
        raise UsageError(f"sparsity {chosen.kind!r} comes from {chosen.requested_by}; give these, and no sparsity")
    if not chosen.can_train:
        raise UsageError(
            f"sparsity {variant_setting(chosen)!r} can be read from files, but not trained; expected "
            + ", ".join(_trainable())
        )
    return chosen


def _trainable() -> list[str]:
    """The kinds that a training's settings can name."""
    usual = [variant(kind=kind) for kind, variant in sorted(variants().items())]
    return [each.kind for each in usual if each.can_train and not each.requested_by]
