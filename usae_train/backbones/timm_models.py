"""Models by timm id, with pretrained, random or local weights; what cannot be had is one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import load_model_config_from_hf
from timm.models._hub import load_model_config_from_path
from torch import Tensor, nn

from usae_train.backbones.backbone import PRETRAINED, RANDOM, BackboneSpec
from usae_train.backbones.packaged import in_order, weight_file
from usae_train.backbones.weight_files import beyond, first_line, misfit, read_weights


def data_config(model: nn.Module) -> dict[str, Any]:
    """timm's own input size, mean and std of a model."""
    found: dict[str, Any] = timm.data.resolve_model_data_config(model)
    return found


def create_model(name: str, spec: BackboneSpec) -> nn.Module:
    """The model of a spec.

    Raises:
        ValueError: for an unknown timm id, a weight file that is missing, broken or of another model, or a hub that
            cannot be reached; it begins with the backbone's name.
    """
    if spec.weights in (RANDOM, PRETRAINED):
        try:
            return _timm_model(name, spec, pretrained=spec.weights == PRETRAINED)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{name}: {spec.model!r} could not be fetched from the hub ({first_line(error)}); "
                "check the network, or give a local file in `weights`"
            ) from error
    return _load_weights(name, spec)


def _timm_model(name: str, spec: BackboneSpec, pretrained: bool, **arguments: Any) -> nn.Module:
    """timm's model with its initial weights drawn from the spec's seed; the global generator is left as it was."""
    if not (_is_elsewhere(spec.model) or timm.is_model(spec.model)):
        near = difflib.get_close_matches(spec.model, timm.list_models(pretrained=False), n=3, cutoff=0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"{name}: timm knows no model {spec.model!r}{hint}")
    architecture, _, tag = spec.model.partition(".")
    if tag and not _is_elsewhere(spec.model) and spec.model not in timm.list_pretrained(f"{architecture}.*"):
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise ValueError(f"{name}: timm knows no weights {spec.model!r}; of this architecture there are {tags}")
    options = dict(spec.options)
    if spec.input_size is not None and _has_fixed_input(spec.model):
        options["img_size"] = spec.input_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        try:
            return timm.create_model(
                spec.model, pretrained=pretrained, num_classes=spec.classes, **options, **arguments
            )
        except (TypeError, AssertionError, ZeroDivisionError, LookupError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{name}: timm cannot build {spec.model!r} with these options: {first_line(error)}"
            ) from error


def _is_elsewhere(model: str) -> bool:
    """Whether an id names a repository or folder instead of an architecture of timm's."""
    return model.startswith(("hf-hub:", "hf_hub:", "local-dir:"))


def _has_fixed_input(model: str) -> bool:
    """Whether a model must be told its input size when it is built."""
    if _is_elsewhere(model):
        source, _, place = model.partition(":")
        read = load_model_config_from_path if source == "local-dir" else load_model_config_from_hf
        return bool(read(place)[0].get("fixed_input_size", False))
    config = timm.models.get_pretrained_cfg(model, allow_unregistered=True)
    return config is not None and config.fixed_input_size


def _load_weights(name: str, spec: BackboneSpec) -> nn.Module:
    """Weights from a file; every tensor that the model has must come from it."""
    path = weight_file(name, spec)
    weights = read_weights(name, path)
    model = _timm_model(name, spec, pretrained=False)
    own, misfits = model.state_dict(), f"{name}: {path} does not fit {spec.model!r}: "
    if spec.tensors == "ordered":
        weights = in_order(weights, own, misfits)
    weights = _with_classifier_of(spec, model, weights, misfits)
    if (further := beyond(weights, own)) is not None:
        raise ValueError(f"{misfits}it has {further!r}, and the model ends before; it is of a deeper one")
    if all(key in weights and weights[key].shape == value.shape for key, value in own.items()):
        model.load_state_dict({key: weights[key] for key in own})
        return model
    # timm converts other releases' names and resizes position embeddings; of another number of classes than its own
    # it would leave the classifier out, without a word
    overlay = {"state_dict": dict(weights), "num_classes": spec.classes}
    try:
        converted = _timm_model(name, spec, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # converters meet names and shapes that they were not written for
        raise ValueError(f"{misfits}{misfit(weights, own) or first_line(error)}") from error
    left = [k for k, v in converted.state_dict().items() if k not in weights and torch.equal(v, own[k])]
    lacking = [key for key in left if own[key].numel() and own[key].min() != own[key].max()]  # a bias of zeros may be
    if lacking:
        raise ValueError(f"{misfits}it lacks {len(lacking)} tensors, {lacking[0]!r} first")
    return converted


def _with_classifier_of(
    spec: BackboneSpec, model: nn.Module, weights: Mapping[str, Tensor], misfits: str
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors without the classifier's where the spec keeps none.

    Raises:
        ValueError: when it keeps one, and the file's has another size.
    """
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = [named] if isinstance(named, str) else list(named)
    if spec.classes == 0:
        return {key: own for key, own in weights.items() if key.rpartition(".")[0] not in classifiers}
    for classifier in classifiers:
        found = weights.get(f"{classifier}.weight")
        if found is not None and len(found) != spec.classes:
            raise ValueError(
                f"{misfits}its classifier has {len(found)} classes, and the spec says {spec.classes}; set `classes` to "
                f"{len(found)}, or to 0 to leave it out"
            )
    return dict(weights)
