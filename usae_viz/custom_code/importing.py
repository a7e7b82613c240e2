"""Importing `module:Name` from a folder: the one place where a recipe can run code."""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import accumulate
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.hashing import INSTALLED, OUR_PACKAGES, files_of_code, hash_of_code

_IMPORTED: dict[str, tuple[Path, str]] = {}  # {module that was imported here: its file, and the hash of its code then}
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
CODE_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names_custom_code(text: str) -> bool:
    """Whether a text names custom code, `module:Name`."""
    return CODE_NAME.fullmatch(text.strip()) is not None


def import_custom(text: str, folder: Path, allow_code: bool, what: str) -> tuple[Any, str | None]:
    """What `module:Name` names, and the hash of the file that it stands in with those that it imports.

    The module is looked for in a folder, the recipe's, first, then where Python looks. `what` it is to be is said in
    messages: `objective`.

    Raises:
        ValueError: without permission, or for a module that is not there, or that Python has imported from elsewhere.
    """
    _check_allowed(text, allow_code, what)
    module_name, _, name = text.partition(":")
    sha256, code = hash_before_import(text, folder), _code_of(module_name, folder)
    _forget_changed(code)
    _check_place(f"{what} {text!r}", module_name, code)
    try:
        with _looked_for_in(folder):
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # custom code: whatever it raises is reported, a script's own exit too
        raise UsageError(f"{what} {text!r}: {module_name} cannot be imported from {folder}: {error!r}") from error
    finally:
        _IMPORTED.update({name: entry for name, entry in code.items() if _imported_from(name) == entry[0]})
    return getattr(module, name, None), sha256


def check_custom(text: str, folder: Path, allow_code: bool, what: str) -> None:
    """Raise a ValueError without permission, or where there is no such module; nothing is imported."""
    _check_allowed(text, allow_code, what)
    module_name = text.partition(":")[0]
    with _looked_for_in(folder):
        exists = module_name in sys.modules or _spec_of(module_name) is not None
    if not exists:
        raise UsageError(f"{what} {text!r}: {module_name} cannot be imported from {folder}: there is no such module")


def _check_allowed(text: str, allow_code: bool, what: str) -> None:
    if not allow_code:
        raise UsageError(f"{what} {text!r} runs code from a file; look at the file, then add --allow-code")


def _code_of(module_name: str, folder: Path) -> dict[str, tuple[Path, str]]:
    """{module: its file, and the hash of its code} of a module, and of those beside it that it imports.

    Without what belongs to Python or is installed: those are not imported again, and do not change.
    """
    file = _file_of(module_name, folder)
    modules = {} if file is None else files_of_code(module_name, file)
    return {
        name: (file, hash_of_code(name, file))
        for file, name in modules.items()
        if name.partition(".")[0] not in OUR_PACKAGES
        and not file.is_relative_to(STANDARD_LIBRARY)
        and not any(part in INSTALLED for part in file.parts)
    }


def _imported_from(module_name: str) -> Path | None:
    """The file that a module was imported from."""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return None if file is None else Path(file).resolve()


def _forget_changed(code: Mapping[str, tuple[Path, str]]) -> None:
    """Forget what was imported here and has changed since, or is now in another place, so that it is imported again.

    A notebook draws, changes a file, and draws again; or it draws by recipes of two folders, with a file of the same
    name in each: otherwise the hash would be of other code than was run. A package is forgotten as a whole, since it
    holds its modules.
    """
    changed = {
        name.partition(".")[0]
        for name, (file, then) in _IMPORTED.items()
        if (name in code and code[name][0] != file) or not file.is_file() or hash_of_code(name, file) != then
    }
    for name in [name for name in _IMPORTED if name.partition(".")[0] in changed]:
        sys.modules.pop(name, None)
        del _IMPORTED[name]


def _check_place(what: str, module_name: str, code: Mapping[str, tuple[Path, str]]) -> None:
    """Raise a ValueError where Python has imported a module of this name from another file, which would be run."""
    file = _imported_from(module_name)
    if file is not None and module_name in code and file != code[module_name][0]:
        raise UsageError(
            f"{what}: Python has imported another {module_name}, {file}, and not {code[module_name][0]}; "
            "give the file another name"
        )


def where_it_failed(error: Exception, file: str | None) -> str:
    """What custom code raised, in one line, after its file and the line that it came to there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return (f"{Path(file).name}, line {lines[-1]}: " if file and lines else "") + repr(error)


def hash_before_import(text: str, folder: Path) -> str | None:
    """The sha256 of the code that `module:function` would be imported from (`hash_of_code`); nothing of it is run.

    It is looked for in a folder first. None for a module that is not there, or is not in a file.
    """
    module_name = text.strip().partition(":")[0]
    file = _file_of(module_name, folder)
    return None if file is None else hash_of_code(module_name, file)


def _file_of(module_name: str, folder: Path) -> Path | None:
    """The file that a module would be imported from; of one that Python finds no longer, that it was imported from."""
    with _looked_for_in(folder):
        spec = _spec_of(module_name)
        place = spec.origin if spec is not None and spec.has_location else None
        place = place or getattr(sys.modules.get(module_name), "__file__", None)
    return Path(place) if place is not None and Path(place).is_file() else None


def _spec_of(module_name: str) -> ModuleSpec | None:
    """What Python finds. Its own `find_spec` imports the packages around a module in order to find it."""
    places: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    for name in accumulate(module_name.split("."), "{}.{}".format):
        specs = (finder.find_spec(name, places) for finder in sys.meta_path)
        if (spec := next((each for each in specs if each is not None), None)) is None:
            return None
        places = spec.submodule_search_locations
    return spec


@contextmanager
def _looked_for_in(folder: Path) -> Iterator[None]:
    """Within it Python looks for modules in a folder first, and takes their code from the files that one can read."""
    place, finder = str(folder.resolve()), _FromSource(folder.resolve())
    sys.path.insert(0, place)
    sys.meta_path.insert(0, finder)
    try:
        importlib.invalidate_caches()
        yield
    finally:
        sys.meta_path.remove(finder)
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
        if not any(Path(spec.origin).is_relative_to(self.folder / entry) for entry in (first, f"{first}.py")):
            return None
        spec.loader, spec.cached = _SourceAlone(name, spec.origin), None
        return spec


class _SourceAlone(SourceFileLoader):
    """A loader that neither reads nor writes compiled code."""

    def get_code(self, fullname: str) -> CodeType:
        file = self.get_filename(fullname)
        return self.source_to_code(self.get_data(file), file)
