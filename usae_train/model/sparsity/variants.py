"""The registry: every variant that has a file in this folder, by its kind."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import usae_train.model.sparsity as room
from usae_train.files.json_files import validated
from usae_train.model.sparsity.variant import Sparsity


@cache
def variants() -> Mapping[str, type[Sparsity]]:
    """{kind: variant}, by name."""
    for module in sorted(found.name for found in iter_modules(room.__path__)):
        import_module(f"{room.__name__}.{module}")
    return {str(own.model_fields["kind"].default): own for own in Sparsity.__subclasses__()}


def read_sparsity(settings: Any) -> Sparsity:
    """The variant that a config.json's `sparsity` names.

    Raises:
        ValueError: for a kind that is unknown, or settings that it does not have.
    """
    kind = str(settings.get("kind") if isinstance(settings, Mapping) else None)
    if kind not in variants():
        near = difflib.get_close_matches(kind, variants(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"sparsity of kind {kind!r}; expected {', '.join(sorted(variants()))}{hint}")
    return validated(variants()[kind].model_validate, settings)
