"""Variants that a folder of modules holds, each by its `kind`: a new file there is a new variant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel

from usae_train.files.json_files import validate
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import did_you_mean

Kind = TypeVar("Kind", bound=BaseModel)


def import_all(package: ModuleType) -> None:
    """Import every module of a package, in the order of their names."""
    for module in sorted(each.name for each in iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{module}")


def kinds_in(package: ModuleType, base: type[Kind]) -> dict[str, type[Kind]]:
    """{kind: the subclass of `base` that a module of the folder has}, by name."""
    import_all(package)
    return {str(kind.model_fields["kind"].default): kind for kind in base.__subclasses__()}


def read_kind(
    settings: Any, kinds: Mapping[str, type[Kind]], what: str, offered: Callable[[], Collection[str]] | None = None
) -> Kind:
    """The variant that a file's settings name.

    Args:
        settings: {"kind": ..., its own settings}.
        kinds: all kinds, by name.
        what: what they are variants of.
        offered: gives the kinds that an error names; all by default.

    Raises:
        ValueError: for a kind that is unknown, with those that are offered, or settings that it does not have.
    """
    kind = str(settings.get("kind") if isinstance(settings, Mapping) else None)
    if kind not in kinds:
        names = sorted(kinds if offered is None else offered())
        raise UsageError(f"{what} of kind {kind!r}; expected {', '.join(names)}{did_you_mean(kind, names)}")
    return validate(kinds[kind].model_validate, settings)


def resolve_kind(
    settings: Any,
    base: type[Kind],
    kinds: Mapping[str, type[Kind]],
    what: str,
    offered: Callable[[], Collection[str]] | None = None,
) -> Kind:
    """The variant that a training's settings name: one itself, a kind alone, or a mapping as `read_kind` takes.

    Raises:
        ValueError: as there.
    """
    if isinstance(settings, base):
        return settings
    return read_kind({"kind": settings} if isinstance(settings, str) else settings, kinds, what, offered)


def variant_setting(variant: BaseModel) -> str | dict[str, Any]:
    """A variant as settings name it: its kind alone, or with all of its settings where one is not the usual."""
    settings = dict(variant)  # those too that a folder does not keep
    return str(settings["kind"]) if variant == type(variant)() else settings
