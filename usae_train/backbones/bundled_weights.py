"""What a USAE folder takes along of its backbones: weight files, and folders of `local-dir:`, as safetensors alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from usae_train.backbones.spec import LOCAL, PRETRAINED, BackboneSpec
from usae_train.files.provenance import file_hash
from usae_train.runtime.errors import UsageError

PLACE = Path("backbones")
PLACE_FIELDS = {"model", "weights", "tensors", "sha256"}  # of a spec: what says where its files are


def check_weights(specs: Mapping[str, BackboneSpec]) -> None:
    """Refuse local files that are not there, which a USAE folder takes along: before hours of work, not after.

    Raises:
        ValueError: for the first that is gone.
    """
    for name, spec in specs.items():
        if spec.has_own_file and not Path(spec.weights).is_file():
            raise UsageError(
                f"{name}: its weight file {spec.weights} is gone; put it back, or point the spec at another"
            )
        if spec.local_folder is not None and not spec.local_folder.is_dir():
            raise UsageError(
                f"{name}: its folder {spec.local_folder} is gone; put it back, or point the spec at another"
            )


def copy_all_weights(specs: Mapping[str, BackboneSpec], into: Path) -> dict[str, BackboneSpec]:
    """Copy all backbones' own files into a folder, each once however many places of its network are read.

    Returns:
        The specs with places relative to the folder.

    Raises:
        ValueError: for files that are gone or cannot be read.
    """
    copied: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        if _files_of(spec) not in copied:
            copied[_files_of(spec)] = copy_weights(name, spec, into).model_dump(include=PLACE_FIELDS)
    return {name: spec.model_copy(update=copied[_files_of(spec)]) for name, spec in specs.items()}


def _files_of(spec: BackboneSpec) -> str:
    """What specs have alike that take the same files along; the names in an `ordered` one are by the whole network."""
    if spec.tensors == "ordered":
        return spec.model_dump_json(exclude={"layer", "site"})
    return spec.model_dump_json(include=PLACE_FIELDS)


def copy_weights(name: str, spec: BackboneSpec, into: Path) -> BackboneSpec:
    """Copy a backbone's own files into a folder.

    Returns:
        The spec with places relative to the folder.

    Raises:
        ValueError: for files that are gone or cannot be read.
    """
    check_weights({name: spec})
    changes = {}
    if spec.has_own_file:
        changes = _weights_of(name, spec, Path(spec.weights), into, PLACE / f"{name}.safetensors")
    if spec.local_folder is not None:
        changes |= _folder_of(name, spec, into)
    return spec.model_copy(update=changes)


def _weights_of(name: str, spec: BackboneSpec, source: Path, into: Path, inside: Path) -> dict[str, str | None]:
    (into / inside).parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".safetensors":
        shutil.copyfile(source, into / inside)
    else:  # a folder of ours holds no pickles, not even harmless ones
        tensors = _tensors_of(name, spec, source)
        save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, into / inside)
    sha256 = None if spec.sha256 is None else file_hash(into / inside)
    return {"weights": inside.as_posix(), "tensors": "named", "sha256": sha256}


def _folder_of(name: str, spec: BackboneSpec, into: Path) -> dict[str, str | None]:
    """Copy what is read of a `local-dir:`: its config without places, its weights where the spec gives no others."""
    from usae_train.backbones.fetching import model_config_file, pretrained_file
    from usae_train.backbones.unlisted_models import config_json_of, read_description

    inside = PLACE / name
    (into / inside).mkdir(parents=True)
    description = read_description(name, spec.model, model_config_file(name, spec))
    (into / inside / "config.json").write_text(config_json_of(description))
    if spec.weights == PRETRAINED:
        _weights_of(name, spec, pretrained_file(name, spec), into, inside / "model.safetensors")
    return {"model": f"{LOCAL}{inside.as_posix()}"}


def _tensors_of(name: str, spec: BackboneSpec, source: Path) -> Mapping[str, Tensor]:
    """A .pth file's tensors under timm's names."""
    if spec.tensors == "ordered":  # a .safetensors file keeps no order
        from usae_train.backbones.timm_models import create_model

        return create_model(name, spec).state_dict()
    from usae_train.backbones.weight_files import read_weights

    return read_weights(name, source)
