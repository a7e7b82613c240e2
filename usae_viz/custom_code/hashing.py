"""Which files custom code is made of: its module's, and those that it imports from beside it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

OUR_PACKAGES = ("usae_train", "usae_viz")  # identified by their version
INSTALLED = ("site-packages", "dist-packages")


def hash_of_code(module: str, file: Path) -> str:
    """One sha256 of a module's file and all that it imports from the folder that it is found in, and those in turn.

    It is the file's own where there are no others. Imports are read from the text, nothing is run: `importlib` is
    followed where it names the module in words. Packages that are installed are not looked into. A module is named as
    it is imported, `mine` or `mine.parts`.
    """
    root, files = _root(module, file), list(files_of_code(module, file))
    hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in files]
    if len(files) == 1:
        return hashes[0]
    rows = sorted(f"{each.relative_to(root).as_posix()} {sha256}" for each, sha256 in zip(files, hashes, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def files_of_code(module: str, file: Path) -> dict[Path, str]:
    """A module's file and those that it imports from the folder that it is found in, each with its module's name."""
    root = _root(module, file)
    installed = any(part in INSTALLED for part in root.parts)
    return {file.resolve(): module} if installed else _closure(module, file.resolve(), root)


def _root(module: str, file: Path) -> Path:
    """The folder that a module is found in."""
    return file.resolve().parents[module.count(".") + (file.name == "__init__.py")]


def _closure(module: str, file: Path, root: Path) -> dict[Path, str]:
    """A module's file, and those of the modules below `root` that it imports, each once."""
    modules, pending = {file: module}, [[module, *_imported(module, file)]]
    while pending:
        names = pending.pop()
        # a package's own file is run as well, before what is in it
        for outer in (name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)):
            place = _place(outer, root)
            if place is not None and place not in modules:
                modules[place] = outer
                pending.append([*_imported(outer, place)])
    return modules


def _place(module: str, root: Path) -> Path | None:
    """The file of a module below a folder."""
    parts = module.split(".")
    if parts[0] in OUR_PACKAGES or not all(parts):
        return None
    inside = root.joinpath(*parts)
    for file in (inside / "__init__.py", inside.with_name(f"{inside.name}.py")):
        if file.is_file():
            return file.resolve() if file.resolve().is_relative_to(root) else None
    return None


def _imported(module: str, file: Path) -> Iterator[str]:
    """Names of modules that a file may import; of `from a import b` also `a.b`, which may be one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = ".".join(part for part in (_up(package, level), source or "") if part)
                yield from (base, *(f"{base}.{each.name}".lstrip(".") for each in names))
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str() as name), *_],
            ):
                yield name


def _up(package: str, level: int) -> str:
    """The package that a number of leading dots means."""
    parts = package.split(".") if package else []
    return ".".join(parts[: len(parts) - level + 1]) if level else ""
