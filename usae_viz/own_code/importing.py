"""Importing `module:Name` from a folder: the one place where a recipe can run code."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from usae_train.runtime.errors import UsageError
from usae_viz.own_code.hashing import files_of_code, hash_of_code

_IMPORTED: dict[str, str | None] = {}  # {module that was imported here: the hash of its code then}
NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_custom(text: str) -> bool:
    """Whether a text names code of somebody's own."""
    return NAME.fullmatch(text.strip()) is not None


def import_own(text: str, folder: Path, allow_code: bool, what: str) -> tuple[Any, str | None]:
    """What `module:Name` names, and the hash of the file that it stands in with those that it imports.

    Args:
        text: the name; the module is looked for in `folder` first, then where Python looks.
        folder: the recipe's.
        allow_code: without it, nothing is imported.
        what: what it is to be, for the messages: `objective`.

    Raises:
        ValueError: without leave, or for a module or name that is not there.
    """
    if not allow_code:
        raise UsageError(f"{what} {text!r} runs code from a file; look at the file, then add --allow-code")
    module_name, _, name = text.partition(":")
    sha256 = code_hash(text, folder)
    _forget_changed(module_name, sha256)
    try:
        with _looked_for_in(folder):
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # anybody's code: whatever it raises is said, a script's own exit too
        raise UsageError(f"{what} {text!r}: {module_name} cannot be imported from {folder}: {error!r}") from error
    _IMPORTED.setdefault(module_name, sha256)
    return getattr(module, name, None), sha256


def _forget_changed(module_name: str, sha256: str | None) -> None:
    """Let a module, with all that it imports, be imported anew where its code has changed since it was imported here.

    A notebook draws, changes the file, and draws again: else the hash would be of other code than was run.
    """
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        _IMPORTED.pop(module_name, None)
    elif _IMPORTED.get(module_name, sha256) != sha256:
        for name in files_of_code(module_name, Path(file)).values():
            sys.modules.pop(name, None)
            _IMPORTED.pop(name, None)


def where_it_failed(error: Exception, file: str | None) -> str:
    """What code of somebody's own raised, in one line, after its file and the line that it came to there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return (f"{Path(file).name}, line {lines[-1]}: " if file and lines else "") + repr(error)


def code_hash(text: str, folder: Path) -> str | None:
    """The sha256 of the code that `module:function` would be imported from (`hash_of_code`); nothing of it is run.

    Args:
        text: the name.
        folder: where the module is looked for first.

    Returns:
        None for a module that is not there, or is in no file.
    """
    module_name = text.strip().partition(":")[0]
    imported = sys.modules.get(module_name)
    with _looked_for_in(folder):
        file = _place_of(module_name) if imported is None else getattr(imported, "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    return hash_of_code(module_name, Path(file))


def _place_of(module_name: str) -> str | None:
    """A module's file. Python's own `find_spec` imports the packages around a module in order to find it."""
    parts, places, spec = module_name.split("."), None, None
    for depth in range(1, len(parts) + 1):
        spec = _found(".".join(parts[:depth]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return spec.origin if spec is not None and spec.has_location else None


def _found(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, places)
        if spec is not None:
            return spec
    return None


@contextmanager
def _looked_for_in(folder: Path) -> Iterator[None]:
    """Within it Python looks for modules in a folder first, and takes their code from the files that one can read."""
    place, own = str(folder.resolve()), _FromSource(folder.resolve())
    sys.path.insert(0, place)
    sys.meta_path.insert(0, own)
    try:
        importlib.invalidate_caches()
        yield
    finally:
        sys.meta_path.remove(own)
        sys.path.remove(place)


class _FromSource:
    """Finds a folder's own modules, to be compiled from their source: a cache beside it could hold any other code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, places: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system asks; None leaves a module to the other finders."""
        spec = PathFinder.find_spec(name, places, target)
        if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        first = name.partition(".")[0]
        if not any(Path(spec.origin).is_relative_to(self.folder / own) for own in (first, f"{first}.py")):
            return None
        spec.loader, spec.cached = _SourceAlone(name, spec.origin), None
        return spec


class _SourceAlone(SourceFileLoader):
    """A loader that neither reads nor writes compiled code."""

    def get_code(self, fullname: str) -> CodeType:
        file = self.get_filename(fullname)
        return self.source_to_code(self.get_data(file), file)
