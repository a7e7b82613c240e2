"""Models by timm id, with pretrained, random or local weights; what cannot be loaded is one clear line.

timm builds the network and knows how the names of a family's releases become its own. It reads nothing: its loader is
given the tensors that ours has read.
"""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from torch import nn

from usae_train.backbones.fetching import model_config_file, pretrained_file
from usae_train.backbones.network_filling import LoadedWeights, Misfit, fill_timm_networks
from usae_train.backbones.options import check_names
from usae_train.backbones.packaged import weight_file
from usae_train.backbones.spec import PRETRAINED, RANDOM, BackboneSpec
from usae_train.backbones.unlisted_models import TimmDescription, is_unlisted, read_description
from usae_train.backbones.weight_files import read_release, read_weights
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line


def data_config(model: nn.Module) -> dict[str, Any]:
    """timm's own input size, mean and std of a model."""
    config: dict[str, Any] = timm.data.resolve_model_data_config(model)
    return config


def create_model(name: str, spec: BackboneSpec) -> nn.Module:
    """The model of a spec.

    Raises:
        ValueError: for an unknown timm id, options that are not network's, a weight file that is missing, broken or of
            another model, or a hub that cannot be reached; it begins with the backbone's name.
    """
    config = _config(name, spec)
    options = {**(config.options if config else {}), **spec.options}
    try:
        check_names(spec.model, config.architecture if config else spec.model.partition(".")[0], options)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    if spec.weights == RANDOM:
        return _timm_model(name, spec, config, options)
    with fill_timm_networks(_load_weights(name, spec)):
        return _timm_model(name, spec, config, options, pretrained=True)


def _config(name: str, spec: BackboneSpec) -> TimmDescription | None:
    """What config.json says of a model that timm does not name; None where timm knows the id."""
    if is_unlisted(spec.model):
        return read_description(name, spec.model, model_config_file(name, spec))
    if not timm.is_model(spec.model):
        near = difflib.get_close_matches(spec.model, timm.list_models(pretrained=False), n=3, cutoff=0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise UsageError(f"{name}: timm knows no model {spec.model!r}{hint}")
    architecture, _, tag = spec.model.partition(".")
    if tag and spec.model not in timm.list_pretrained(f"{architecture}.*"):
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise UsageError(f"{name}: timm knows no weights {spec.model!r}; of this architecture there are {tags}")
    return None


def _load_weights(name: str, spec: BackboneSpec) -> LoadedWeights:
    """The weights of a spec, read."""
    official = spec.weights == PRETRAINED and not is_unlisted(spec.model)
    path = pretrained_file(name, spec) if spec.weights == PRETRAINED else weight_file(name, spec)
    content = read_release(name, path) if official else read_weights(name, path)
    return LoadedWeights(name, spec, path.name if official else str(path), content, official)


def _timm_model(
    name: str, spec: BackboneSpec, config: TimmDescription | None, options: dict[str, Any], pretrained: bool = False
) -> nn.Module:
    """timm's model with its initial weights drawn from the spec's seed; the global generator is left as it was."""
    arguments: dict[str, Any] = dict(options)
    if config is not None:
        arguments["pretrained_cfg"] = config.pretrained_cfg
    if spec.input_size is not None and _has_fixed_input(spec.model, config):
        arguments["img_size"] = spec.input_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        try:
            return timm.create_model(
                config.architecture if config else spec.model,
                pretrained=pretrained,
                num_classes=spec.classes,
                **arguments,
            )
        except Misfit:
            raise
        except (
            TypeError,
            AssertionError,
            ZeroDivisionError,
            LookupError,
            AttributeError,
            ValueError,
            RuntimeError,
        ) as error:
            raise UsageError(
                f"{name}: timm cannot build {spec.model!r} with these options: {first_line(error)}"
            ) from error


def _has_fixed_input(model: str, config: TimmDescription | None) -> bool:
    """Whether a model has to be given its input size when it is built."""
    if config is not None:
        return bool(config.pretrained_cfg.get("fixed_input_size", False))
    config_of_timm = timm.models.get_pretrained_cfg(model, allow_unregistered=True)
    return config_of_timm is not None and config_of_timm.fixed_input_size
