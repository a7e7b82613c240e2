"""Which software made a file: package versions, the commit of a checkout, hashes of files."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from usae_train.files.place_names import path_of_name
from usae_train.files.regular import check_regular
from usae_train.runtime.errors import UsageError

CHECKOUT = Path(__file__).resolve().parents[2]  # where this runs from a clone; else only a folder of packages


def versions() -> dict[str, str]:
    """Versions of the packages that decide what a fit or a picture comes out as."""
    return {package: _version(package) for package in ("usae", "torch", "timm", "kornia")}


@cache  # each asking reads and parses the package's metadata: 9 of 10 ms of planning a picture
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def import_extra(package: str, extra: str) -> ModuleType:
    """Import a package that only an extra installs.

    Raises:
        ValueError: when it is not there; says what to install.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(f"this needs the package {package!r}; {install_command(extra)}") from error


def install_command(extra: str) -> str:
    """What to type to have an extra: of the clone that runs, from any folder, or of the installed package.

    Example:
        >>> install_command("hf").startswith("pip install ")
        True
    """
    if not (CHECKOUT / "pyproject.toml").is_file():
        return f'pip install "usae[{extra}]"'
    return f'pip install -e "{"." if Path.cwd() == CHECKOUT else CHECKOUT}[{extra}]"'


@cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed copy.

    It is read once: a commit that is made while a run is drawn is not what draws it.
    """
    return _commit_of(CHECKOUT)


@cache
def _commit_of(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def file_hash(file: Path) -> str:
    """sha256 of a file, in hex.

    Raises:
        ValueError: for a pipe, a device or a folder.
    """
    check_regular(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def hash_of_named(file: str) -> str:
    """sha256 of a file as a person names it, in hex.

    Raises:
        ValueError: for one that cannot be read.
    """
    try:
        return file_hash(path_of_name(file))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
