"""Which of a file's tensors are a network's: below which key and which prefix; and in what they differ from its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural

FIRST = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training files keep weights; timm's order
# What else is a network, and no optimizer or loss, in training files of DINO, iBOT, Lightning, apex, MMCV and others
NETWORKS = (
    "teacher",
    "student",
    "module",
    "net",
    "network",
    "backbone",
    "encoder",
    "model_state_dict",
    "model_state",
    "ema",
    "ema_state_dict",
    "params",
    "params_ema",
    "weights",
    "target_encoder",
    "momentum_encoder",
    "generator",
)
WRAPPED = ("module.", "_orig_mod.")  # by DistributedDataParallel and torch.compile
LEARNED = re.compile(r"(\.(weight|bias)|_bias|gamma(_\d)?|_token)$")
MAX_KEYS_ABOVE = 4  # keys above a network's tensors


def state_of(content: Any) -> dict[str, Tensor]:
    """The tensors by name in what a file holds.

    Raises:
        ValueError: for no tensors, or several networks; it says which, without the file.
    """
    for _ in range(MAX_KEYS_ABOVE):
        if not isinstance(content, Mapping):
            raise UsageError("holds no tensors by name; expected a .safetensors or .pth file of tensors by name")
        inner = next((content[key] for key in FIRST if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            tensors = {_unwrapped(str(key)): value for key, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            inner = content[_only_network(content)]
        content = inner
    raise UsageError(f"has no tensors in it to a depth of {MAX_KEYS_ABOVE} keys; save a state_dict()")


def _only_network(content: Mapping[Any, Any]) -> Any:
    nested = [key for key, value in content.items() if isinstance(value, Mapping) and _has_tensors(value)]
    if not nested:
        raise UsageError("has no tensors in it; expected a .safetensors or .pth file of tensors by name")
    networks = [key for key in nested if key in NETWORKS] or nested
    if len(networks) > 1:
        names = ", ".join(str(key) for key in networks[:6])
        raise UsageError(f"holds {names}; save the one that you mean as a file of its own")
    return networks[0]


def _has_tensors(content: Mapping[Any, Any], depth: int = 1) -> bool:
    return any(
        isinstance(value, Tensor)
        or (isinstance(value, Mapping) and depth < MAX_KEYS_ABOVE and _has_tensors(value, depth + 1))
        for value in content.values()
    )


def _unwrapped(key: str) -> str:
    while key.startswith(WRAPPED):
        key = key.removeprefix(WRAPPED[0]).removeprefix(WRAPPED[1])
    return key


def without_prefix(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors below the prefix that stands before most of a network's own names: `backbone.`, `encoder.`, ...

    Returns:
        None where there is no such prefix before at least half of the names.

    Raises:
        ValueError: when several prefixes have as many, and their tensors are not the same.
    """
    prefixes = dict.fromkeys(_prefixes(weights, initial))
    covered = {prefix: sum(prefix + key in weights for key in initial) for prefix in prefixes}
    most = max(covered.values(), default=0)
    if 2 * most < len(initial):
        return None
    candidates = [tensors_below(weights, prefix) for prefix in sorted(covered, key=len) if covered[prefix] == most]
    if any(not _same(candidates[0], other, initial) for other in candidates[1:]):
        names = ", ".join(prefix for prefix in covered if covered[prefix] == most)
        raise UsageError(f"it has the network several times, below {names}; save the one that you mean")
    return candidates[0]


def _prefixes(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> Iterator[str]:
    """What stands before a network's own names, where they are long enough to be nothing else's."""
    for probe in sorted(initial, key=len)[-8:]:
        yield from (key.removesuffix(probe) for key in weights if key.endswith("." + probe))


def tensors_below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by what follows it."""
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _same(weights: Mapping[str, Tensor], others: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors give a network the same, as where a module is saved under two names."""
    return all(key in others and torch.equal(weights[key], others[key]) for key in initial if key in weights)


def describe_misfit(content: Mapping[str, Any], initial: Mapping[str, Tensor]) -> str | None:
    """Why tensors cannot be a model's, in words; None where it does not show from names and shapes."""
    weights = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        return "no tensor lies at its top; it belongs to another model"
    shared = [key for key in initial if key in weights]
    if not shared:
        return (
            f"none of its {len(weights)} names is one of the model's: it has {next(iter(weights))!r}, the model "
            f"{next(iter(initial))!r}; give it timm's names, or name the model that it belongs to"
        )
    if lacking := [key for key in initial if key not in weights]:
        return f"it lacks {plural(len(lacking), 'tensor')}, {lacking[0]!r} first"
    for key in shared:
        if weights[key].shape != initial[key].shape:
            shape, expected = tuple(weights[key].shape), tuple(initial[key].shape)
            return f"{key} has the shape {shape}, and the model's {expected}: it belongs to another model or size"
    return None


def first_beyond_blocks(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> str | None:
    """The first tensor of a block that the model does not have: its blocks' numbers end before."""
    model_parts = {own_part for key in initial for own_part in _indexed_parts(key)}
    stems = {stem for stem, _ in model_parts}
    for key in weights:
        for stem, number in _indexed_parts(key):
            if stem in stems and (stem, number) not in model_parts:
                return key
    return None


def unknown_part(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> str | None:
    """The first learned tensor inside a model's own parts that it has no place for: a layer scale, a norm, a register.

    Heads, decoders and losses that a file has beside the network, and tables that follow from its form, are none.
    """
    parts = {key.partition(".")[0] for key in initial}
    for key in weights:
        first, dot, _ = key.partition(".")
        inside = first in parts or "norm" in first or not dot
        if key not in initial and key != "mask_token" and inside and LEARNED.search(key):
            return key
    return None


def _indexed_parts(key: str) -> list[tuple[str, str]]:
    """("blocks", "3") and the like: each number in a tensor's name, with what stands before it."""
    parts = key.split(".")
    return [(".".join(parts[:place]), part) for place, part in enumerate(parts) if part.isdecimal()]
