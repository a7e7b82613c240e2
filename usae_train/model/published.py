"""The authors' release: a YAML and a .pth file per backbone, turned into a USAE (github.com/YorkUCVIL/UniversalSAE)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from usae_train.backbones.spec import PAPER, Level, PositiveStd
from usae_train.backbones.weight_files import not_plain
from usae_train.files.homes import resolve_beside
from usae_train.files.torch_state import read_torch_file
from usae_train.files.yaml_config import check_mapping, read_mapping
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults

# Their names for the paper's backbones, ours, and the width of the tokens
NAMES = {"SigLIP": ("siglip", 768), "DinoV2": ("dino", 384), "ViT": ("vit", 768)}
MAX_SIZE = 2**20  # largest size in their YAML; theirs are 6144 concepts of 768 features
LINEAR, NORM, ATOMS = "encoder.final_block.0", "encoder.final_block.1", "dictionary._weights"  # overcomplete's names


class _Lenient(BaseModel):
    """Their YAML also has much about their training."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class _Global(_Lenient):
    nb_components: int = Field(ge=1, le=MAX_SIZE)
    standardize: Literal[True] = True
    divide_norm: Literal[False] = False
    use_class_tokens: Literal[False] = False


class _SaeParams(_Lenient):
    encoder_module: Literal["mlp_bn_1"] = "mlp_bn_1"
    dictionary_normalization: Literal["l2"] = "l2"
    top_k: int = Field(ge=1, le=MAX_SIZE)


class _Model(_Lenient):
    checkpoint_path: str
    input_shape: int = Field(ge=1, le=MAX_SIZE)
    num_tokens: int = Field(ge=1, le=MAX_SIZE)
    model_mean: Level
    model_std: PositiveStd


class _Release(_Lenient):
    global_: _Global = Field(alias="global")
    sae_params: _SaeParams
    model_zoo: dict[str, _Model] = Field(min_length=1)


@with_torch_defaults
def import_published(config: str | Path) -> USAE:
    """Convert the authors' release.

    Their names for the paper's three backbones become the preset `paper`'s; with other widths than the paper's, or
    under another name, a backbone has no spec, and the USAE serves activations only.

    Args:
        config: their YAML; checkpoint paths in it are taken relative to its folder.

    Returns:
        The USAE, in evaluation mode, without statistics and without a record of the backbones' weights: the release
        does not say which they were, and the hub's current ones may differ.

    Raises:
        ValueError: for a YAML or checkpoint of another form (a key that is missing, a shape that differs, a pickle with
            code in it); says which.
    """
    config = Path(config)
    release = check_mapping(_Release, read_mapping(config), config)
    zoo = {NAMES.get(name, (name, 0))[0]: (name, model) for name, model in release.model_zoo.items()}
    if len(zoo) < len(release.model_zoo):
        raise UsageError(f"{config}: model_zoo names a backbone twice, by the authors' name and by ours; leave one out")
    if release.sae_params.top_k > release.global_.nb_components:
        raise UsageError(f"{config}: top_k {release.sae_params.top_k} of {release.global_.nb_components} nb_components")
    has_paper_widths = all(model.input_shape == NAMES.get(their_name, ("", 0))[1] for their_name, model in zoo.values())
    grids = {model.num_tokens for _, model in zoo.values()}
    side = math.isqrt(min(grids))
    if len(grids) > 1 or side * side != min(grids):
        raise UsageError(f"{config}: num_tokens {sorted(grids)}; expected one square number for all backbones")
    size, checkpoints = release.global_.nb_components, dict[str, dict[str, Tensor]]()
    for name, (their_name, model) in zoo.items():
        file = resolve_beside(model.checkpoint_path, config.parent)
        checkpoints[name] = _read_checkpoint(file, their_name)
        # before memory is taken for the YAML's sizes
        _tensor(checkpoints[name], f"{LINEAR}.weight", (size, model.input_shape), str(file))
    try:
        usae = USAE(
            {name: model.input_shape for name, (_, model) in zoo.items()},
            size,
            release.sae_params.top_k,
            batch_norm=True,
            specs={name: PAPER[name] for name in zoo} if has_paper_widths else None,
            grid=(side, side),
            recipe="published",
        )
    except UsageError as error:
        raise UsageError(f"{config}: {error}") from error
    for name, (_, model) in zoo.items():
        _copy_pair(usae, name, checkpoints[name], str(resolve_beside(model.checkpoint_path, config.parent)))
        usae.scale(name).set(torch.tensor(model.model_mean), torch.tensor(model.model_std))
    return usae.eval().requires_grad_(False)


def _read_checkpoint(file: Path, name: str) -> dict[str, Tensor]:
    if not file.exists():
        raise UsageError(f"{name}: no checkpoint at {file}; paths are taken relative to the YAML's folder")
    content: Any = read_torch_file(file, f"{name}: {file}", "checkpoint")
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise UsageError(f"{name}: {file} has no `model_state_dict`; expected a checkpoint of the authors' training")
    if (fault := not_plain(weights)) is not None:
        raise UsageError(f"{name}: {file}: {fault}; expected plain tensors, as the authors' training saves them")
    return weights


def _copy_pair(usae: USAE, name: str, weights: dict[str, Tensor], where: str) -> None:
    """Copy one backbone's encoder and dictionary."""
    encoder, dictionary = usae.encoder(name), usae.decoder(name)
    assert encoder.norm is not None
    targets = {
        f"{LINEAR}.weight": encoder.linear.weight,
        f"{LINEAR}.bias": encoder.linear.bias,
        f"{NORM}.weight": encoder.norm.weight,
        f"{NORM}.bias": encoder.norm.bias,
        f"{NORM}.running_mean": encoder.norm.running_mean,
        f"{NORM}.running_var": encoder.norm.running_var,
        ATOMS: dictionary.weight,
    }
    with torch.no_grad():
        for key, target in targets.items():
            assert target is not None
            target.copy_(_tensor(weights, key, tuple(target.shape), where))


def _tensor(weights: dict[str, Tensor], key: str, shape: tuple[int, ...], where: str) -> Tensor:
    tensor = weights.get(key)
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        has = "is missing" if not isinstance(tensor, Tensor) else f"is {tuple(tensor.shape)}"
        raise UsageError(f"{where}: {key} {has}; by the YAML it should be {shape}")
    if not tensor.isfinite().all():
        raise UsageError(f"{where}: {key} has values that are NaN or infinite; take another checkpoint")
    if not tensor.is_floating_point():
        raise UsageError(f"{where}: {key} holds no floating-point numbers ({tensor.dtype})")
    return tensor
