"""The registry: every variant that has a file in this folder, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import usae_train.training.dictionaries as package
from usae_train.files.variant_registry import kinds_in, resolve_kind
from usae_train.training.dictionaries.variant import DictionaryKind


@cache
def dictionary_kinds() -> Mapping[str, type[DictionaryKind]]:
    """{kind: variant}, by name."""
    return kinds_in(package, DictionaryKind)  # type: ignore[type-abstract]


def read_dictionary(settings: Any) -> DictionaryKind:
    """The variant that a training's `dictionary` names: a kind alone, or a mapping of it and its settings.

    Raises:
        ValueError: for a kind that is unknown, or settings that it does not have.
    """
    return resolve_kind(settings, DictionaryKind, dictionary_kinds(), "dictionary")  # type: ignore[type-abstract]
