"""Types of settings that name variants, alone or with settings of their own; checked without torch where possible."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from usae_train.files.variant_registry import variant_setting
from usae_train.runtime.errors import UsageError

NO_FRACTIONS = ("", "none")  # how a command line says that there are no fractions


def _read_sparsity(setting: Any) -> Any:
    if setting == "topk":  # recipes are built when the settings are imported, without torch
        return setting
    from usae_train.model.sparsity.variants import trained_sparsity

    return variant_setting(trained_sparsity(setting))


def _dictionary(setting: Any) -> Any:
    if setting == "free":
        return setting
    from usae_train.training.dictionaries.variants import read_dictionary

    return variant_setting(read_dictionary(setting))


def _numbers(setting: Any) -> Any:
    """Text of a command line: comma-separated numbers."""
    if not isinstance(setting, str):
        return setting
    return () if setting.strip() in NO_FRACTIONS else tuple(part.strip() for part in setting.split(","))


def _rising(fractions: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 < fraction < 1 for fraction in fractions):
        raise UsageError("expected shares above 0 and below 1; that of all concepts is implied")
    if any(later <= before for before, later in pairwise(fractions)):
        raise UsageError("expected fractions that rise, such as 0.1,0.25,0.5")
    return fractions


Beta = Annotated[float, Field(ge=0, lt=1)]
Matryoshka = Literal["fixed", "drawn"]
SparsityName = Annotated[str | dict[str, Any], BeforeValidator(_read_sparsity)]
DictionaryName = Annotated[str | dict[str, Any], BeforeValidator(_dictionary)]
Fractions = Annotated[tuple[float, ...], BeforeValidator(_numbers), AfterValidator(_rising)]
