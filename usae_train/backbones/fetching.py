"""Where the files lie that a spec names by id: in a folder, the hub's cache or torch's. Fetched here, never read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
from timm.models._hub import download_cached_file

from usae_train.backbones.spec import BackboneSpec
from usae_train.backbones.unlisted_models import CONFIG, is_unlisted
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line

# How timm and the hub call a repository's weights; the first is taken. What is not a pickle goes first, as in timm.
FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def model_config_file(name: str, spec: BackboneSpec) -> Path:
    """The config.json of a model that timm does not list, fetched where it is not here yet.

    Raises:
        ValueError: for a folder that is not there or a hub that cannot be reached.
    """
    if (folder := spec.local_folder) is None:
        return _file_from_hub(name, spec, spec.model.partition(":")[2], [CONFIG])
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{name}: no {CONFIG} in {str(folder)!r}, which {spec.model!r} names; expected timm's form")
    return folder / CONFIG


def pretrained_file(name: str, spec: BackboneSpec) -> Path:
    """The file of the weights that come with a model's id, fetched where it is not here yet.

    Raises:
        ValueError: when there is none, several, or it cannot be fetched; it begins with the backbone's name.
    """
    if spec.local_folder is not None:
        return _in_folder(name, spec.local_folder)
    if is_unlisted(spec.model):
        return _file_from_hub(name, spec, spec.model.partition(":")[2], FILES)
    config = timm.models.get_pretrained_cfg(spec.model, allow_unregistered=True)
    if config is not None and config.hf_hub_id:
        file_name = config.hf_hub_filename
        return _file_from_hub(name, spec, config.hf_hub_id, FILES if file_name is None else _safe_first(file_name))
    if config is None or not config.url:
        raise UsageError(f"{name}: timm has no weights of {spec.model!r}; give a file in `weights`, or `random`")
    try:
        return Path(download_cached_file(config.url))
    except (OSError, RuntimeError) as error:
        raise _not_fetched(name, spec, error) from error


def _safe_first(file: str) -> list[str]:
    """A file's name after that of its safetensors, which a repository has instead or beside it."""
    if file.endswith(".safetensors"):
        return [file]
    alternative = Path(file).with_suffix(".safetensors").name.replace("pytorch_model", "model")
    return [alternative, file]


def _in_folder(name: str, folder: Path) -> Path:
    """A folder's weights: under a name of the hub's, or the one file that looks like weights."""
    for file in FILES:
        if (folder / file).is_file():
            return folder / file
    files = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS and file.is_file())
    if len(files) != 1:
        names = ", ".join(file.name for file in files[:5]) or "none"
        raise UsageError(f"{name}: which are the weights in {folder}? found {names}; name the file in `weights`")
    return files[0]


def _file_from_hub(name: str, spec: BackboneSpec, place: str, files: Sequence[str]) -> Path:
    """The first of some files that a repository of the Hugging Face hub has: `user/name` or `user/name@revision`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = place.partition("@")
    missing: list[Exception] = []
    for file in files:
        # once the hub was not reached only the cache is asked: a try takes 23 s (huggingface_hub 2.4 tries 6 times)
        offline = any(isinstance(error, LocalEntryNotFoundError) for error in missing)
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None, local_files_only=offline))
        except EntryNotFoundError as error:
            missing.append(error)
        except Exception as error:  # the client's own, its transport's and the operating system's
            raise _not_fetched(name, spec, error) from error
    raise _not_fetched(name, spec, missing[0]) from missing[0]


def _not_fetched(name: str, spec: BackboneSpec, error: Exception) -> UsageError:
    return UsageError(
        f"{name}: {spec.model!r} could not be fetched from the hub ({first_line(error)}); "
        "check the network, or give a local file in `weights`"
    )
