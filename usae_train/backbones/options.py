"""The `options` of a spec: an allow-list, for a spec may come from a stranger and goes to `timm.create_model`.

What shapes a network is let through: names that the architecture's own classes take, with plain values. What says where
to read or write, or how weights are loaded, is refused whatever the architecture.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from usae_train.runtime.errors import UsageError

# Of the spec, by other names
SPEC_FIELDS = {"img_size", "pretrained", "checkpoint_path", "num_classes", "features_only"}
# What `timm.create_model` and its builder (1.0.31) take that shapes no network: places, files, caches, how weights are
# found and how layers are compiled, and objects that no file can hold
REFUSED_OPTIONS = frozenset(
    {
        "model_name",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "pretrained_tag",
        "checkpoint_path",
        "cache_dir",
        "scriptable",
        "exportable",
        "no_jit",
        "features_only",
        "out_indices",
        "feature_cls",
        "feature_cfg",
        "model_cls",
        "model_cfg",
        "variant",
        "pruned",
        "pretrained_strict",
        "pretrained_filter_fn",
        "pretrained_model_args",
        "kwargs_filter",
        "device",
        "dtype",
        "cfg",
        "cfgs",
        "url",
        "file",
        "source",
        "state_dict",
        "hf_hub_id",
        "hf_hub_filename",
        "custom_load",
        "self",
        "kwargs",
        "args",
    }
)
MAX_NUMBER = 2**16  # of a whole number; timm's own are below (embed_dim 6144): what is larger only hangs
MAX_LENGTH = 64  # of a word or list; timm's longest list of stages has 12 entries
POPPED_OPTIONS = (
    "bn_momentum",
    "bn_eps",
)  # what timm's EfficientNets take out of their arguments before a class sees them


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse options that shape no network; whether the names are the architecture's is not looked at.

    Raises:
        ValueError: for an option that shapes no network, or a value other than a number, a word, true, false or a list
            of these; it says which.
    """
    if fields := SPEC_FIELDS & options.keys():
        raise UsageError(f"{', '.join(sorted(fields))} cannot be set here; use `input_size`, `weights` and `classes`")
    for name, value in options.items():
        if name in REFUSED_OPTIONS:
            raise UsageError(f"{name} is not an option of a network and is not passed to timm; leave it out")
        if (fault := _fault(value)) is not None:
            raise UsageError(
                f"{name} is {fault}; expected a number, a word, true or false, or a list of these, as timm's networks "
                "take them"
            )


def _fault(value: Any, depth: int = 0) -> str | None:
    """What is wrong with a value, in words."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        good = math.isfinite(value) if isinstance(value, float) else abs(value) <= MAX_NUMBER
        return None if good else f"{value:.3g}, not a number of a network's size"
    if isinstance(value, str):
        return None if len(value) <= MAX_LENGTH and value.isprintable() else "a word that no network takes"
    if isinstance(value, list | tuple) and depth < 3:
        if len(value) > MAX_LENGTH:
            return f"a list of {len(value)}"
        return next((fault for part in value if (fault := _fault(part, depth + 1)) is not None), None)
    return f"a {type(value).__name__}"


def check_names(model: str, architecture: str, options: Mapping[str, Any]) -> None:
    """Refuse options that an architecture's own classes do not take.

    Args:
        model: what the reader called it, for the message.
        architecture: timm's name, without the tag of its weights.
        options: with values that `check_values` let through.

    Raises:
        ValueError: for a name that none of them takes, or a layer that timm does not know; it says which.
    """
    valid_names = option_names(architecture) if options else frozenset()
    for name, value in options.items():
        if name not in valid_names:
            near = difflib.get_close_matches(name, valid_names, n=1) or sorted(valid_names - {"in_chans"})[:6]
            raise UsageError(f"{model!r} has no option {name!r} that shapes it; it has {', '.join(near)}")
        if isinstance(value, str) and name.endswith(("act_layer", "norm_layer")) and not _is_layer(name, value):
            raise UsageError(
                f"timm knows no layer {value!r}, which the option {name} asks for; leave it out, or name one"
            )


def _is_layer(option: str, name: str) -> bool:
    """Whether timm knows an activation or norm by a name."""
    from timm.layers import get_act_layer, get_norm_act_layer, get_norm_layer

    for find in (get_act_layer,) if option.endswith("act_layer") else (get_norm_layer, get_norm_act_layer):
        try:
            find(name)
        except (LookupError, AssertionError):
            continue
        return True
    return False


def option_names(architecture: str) -> frozenset[str]:
    """The names of options that shape networks of an architecture's family: what its classes' signatures have.

    Raises:
        RuntimeError: for an architecture that timm does not have.
    """
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(architecture).__module__]
    # what the module builds its networks from: its own classes, or another module's that it extends
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    names = {name for kind in classes if hasattr(kind, "forward_intermediates") for name in _parameter_names(kind)}
    return frozenset(names | set(POPPED_OPTIONS)) - REFUSED_OPTIONS - SPEC_FIELDS


def _parameter_names(kind: type) -> Iterator[str]:
    """What a class takes by name; where it takes more than it names, what its superclasses and settings have."""
    parameters = inspect.signature(kind).parameters.values()
    yield from (each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))
    if any(each.kind == each.VAR_KEYWORD for each in parameters):
        for above in kind.__mro__[1:]:
            if hasattr(above, "forward_intermediates"):
                yield from _parameter_names(above)
        for settings in vars(sys.modules[kind.__module__]).values():
            if isinstance(settings, type) and dataclasses.is_dataclass(settings):
                yield from (field.name for field in dataclasses.fields(settings))
