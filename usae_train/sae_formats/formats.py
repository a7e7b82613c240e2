"""The registry of formats, and reading and writing autoencoders in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import usae_train.sae_formats as package
from usae_train.backbones.backbone import build_backbones
from usae_train.backbones.names import check_name
from usae_train.backbones.spec import BackboneSpec
from usae_train.files.atomic import atomic_path, check_free
from usae_train.files.place_names import path_of_name
from usae_train.files.validation import check_settings
from usae_train.files.variant_registry import import_all
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import did_you_mean
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.sae_formats.format import Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder, as_usae, of_usae
from usae_train.sae_formats.settings import ExportSettings
from usae_train.sae_formats.torch_files import TORCH_SUFFIXES, load_tensors

EXPORT = ExportSettings()  # the defaults


@cache
def formats() -> Mapping[str, Format]:
    """{name: format}, by name."""
    import_all(package)
    return {kind.name: kind() for kind in Format.__subclasses__()}


def read_sae(
    place: str | Path, format: str | None = None, k: int | None = None, threshold: float | None = None
) -> SparseAutoencoder:
    """Read an autoencoder of another library.

    Args:
        place: its folder or file.
        format: the library's; recognized by the files' names and first bytes by default.
        k: how many concepts are active, where the file does not say (overcomplete).
        threshold: what a pre-code must exceed, where the file does not say (overcomplete's BatchTopK).

    Raises:
        ValueError: for what is missing, in an unknown format, broken, or cannot be reproduced exactly.
    """
    place = path_of_name(place)
    if not place.exists():
        raise UsageError(f"no folder or file at {str(place)!r}")
    place, kind = _recognize(place) if format is None else (place, _format_by_name(format))
    answers = UserAnswers(k, threshold)
    kind.check_answers_used(answers)
    return kind.read(place, answers)


@with_torch_defaults
def import_sae(
    place: str | Path,
    backbone: str | BackboneSpec | None = None,
    *,
    format: str | None = None,
    name: str | None = None,
    k: int | None = None,
    threshold: float | None = None,
) -> USAE:
    """A USAE of one backbone from an autoencoder of another library: codes and decoded tokens are the same.

    What is subtracted before encoding, and which concepts are active, is kept exactly; what cannot be reproduced is
    refused. SAELens 6, sparsify, saev, overcomplete, dictionary_learning and Prisma are read; nothing in a file is run.

    Args:
        place: a folder or file.
        backbone: the network and layer that its tokens come from: a timm id or a spec. Without one the USAE serves
            bare activations.
        format: `saelens`, `sparsify`, ...; read from the files by default.
        name: name of the backbone; the id without its tag by default, `sae` without a backbone.
        k: how many concepts are active per token, where the file does not say.
        threshold: what a pre-code must exceed, where the file does not say.

    Raises:
        ValueError: for what cannot be read or reproduced, or a backbone whose tokens have another width.
    """
    return import_autoencoder(place, backbone, format=format, name=name, k=k, threshold=threshold)[1]


def import_autoencoder(
    place: str | Path,
    backbone: str | BackboneSpec | None = None,
    *,
    format: str | None = None,
    name: str | None = None,
    k: int | None = None,
    threshold: float | None = None,
) -> tuple[SparseAutoencoder, USAE]:
    """What was read, with notes on it, and its USAE; see `import_sae`."""
    sae = read_sae(place, format, k, threshold)
    if backbone is None:
        return sae, as_usae(sae, name or "sae")
    spec = check_settings(BackboneSpec, model=backbone) if isinstance(backbone, str) else backbone
    name = name or spec.short_name
    check_name(name)
    return sae, as_usae(sae, name, build_backbones({name: spec})[name])


def export_sae(usae: USAE, backbone: str, folder: str | Path, format: str = EXPORT.format) -> Path:
    """Write one backbone of a USAE as an autoencoder of another library, with standardization folded into it.

    Args:
        usae: the USAE.
        backbone: whose encoder and dictionary.
        folder: a folder that does not exist, or is empty.
        format: `saelens` or `sparsify`.

    Raises:
        ValueError: for a format that is not written, a sparsity that it does not have, or a folder that is not empty.
    """
    check_usae(usae)
    kind, folder = _format_by_name(format), Path(folder)
    check_free(folder)
    sae = of_usae(usae, backbone)
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        kind.write(sae, fresh)
    return folder


def _format_by_name(format: str) -> Format:
    if format not in formats():
        expected = ", ".join(sorted(formats()))
        raise UsageError(f"unknown format {format!r}; expected {expected}{did_you_mean(format, formats())}")
    return formats()[format]


def _recognize(place: Path) -> tuple[Path, Format]:
    """A place, or the only torch file in it, and its format."""
    kinds = [kind for kind in formats().values() if kind.recognizes(place)]
    if not kinds and place.is_dir():
        files = [file for file in place.iterdir() if file.suffix in TORCH_SUFFIXES]
        if len(files) == 1:
            return _recognize(files[0])
    if not kinds and place.suffix in TORCH_SUFFIXES:
        load_tensors(place, place)  # raises what is wrong with it
    if len(kinds) != 1:
        what = "is in no known format" if not kinds else f"may be {' or '.join(kind.name for kind in kinds)}"
        raise UsageError(f"{place} {what}; say which with --format ({', '.join(sorted(formats()))})")
    return place, kinds[0]
