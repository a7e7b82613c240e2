"""Checks of training states on disk: whether one belongs to this training, before anything is loaded from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from usae_train.backbones.spec import BackboneSpec
from usae_train.files.tensor_checks import Damaged, check_tensor, moments_of
from usae_train.images.fingerprints import same_setting
from usae_train.runtime.errors import UsageError
from usae_train.tokens.feeding import Batches

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, each of its parameter's shape
LISTED_SPECS = TypeAdapter(list[tuple[str, BackboneSpec]])  # as `listed_specs` writes it
FORMER_RECIPE_SETTINGS = {  # what older recipes did, which had no such settings
    "unit_norm": True,
    "noise": 0.0,
    "betas": [0.9, 0.999],
    "own_weight": 1.0,
    "sparsity": "topk",
    "dictionary": "free",
    "matryoshka": "fixed",
}


def find_differences(settings: Mapping[str, Any], begun_with: Mapping[str, Any]) -> list[str]:
    """Which settings differ from those that a state was begun with, a recipe's by their own names.

    A top-level setting that an older version did not know is no difference: its states hold what it would decide. One
    of a recipe is what that version did (FORMER_RECIPE_SETTINGS): trainings by recipes that still do it can be resumed.

    Raises:
        ValueError: for a state of a version whose recipes had other settings: nothing can resume from it.
    """
    differences = []
    for key in settings.keys() & begun_with.keys():
        setting, begun = settings[key], _specs_of_today(begun_with[key]) if key == "backbones" else begun_with[key]
        if isinstance(setting, dict) and isinstance(begun, dict) and key == "recipe":
            later = {name: as_before for name, as_before in FORMER_RECIPE_SETTINGS.items() if name not in begun}
            begun = later | begun
            other = (setting.keys() ^ begun.keys()) | {name for name in later if setting.get(name) != later[name]}
            if other:
                raise UsageError(
                    f"another version of usae began it, whose recipes had another {', '.join(sorted(other))}"
                )
            differences += [f"{key}.{name}" for name in setting if setting[name] != begun[name]]
        elif not same_setting(key, setting, begun):
            differences.append(key)
    return sorted(differences)


def _specs_of_today(listed: Any) -> Any:
    """Names and specs as `listed_specs` makes them, with the fields that came later at their defaults."""
    try:
        return [[name, spec.model_dump(mode="json")] for name, spec in LISTED_SPECS.validate_python(listed)]
    except ValidationError:
        return listed


def check_moments(
    state: Any, optimizer: torch.optim.Optimizer, what: str, all_have_stepped: bool
) -> dict[int, dict[str, Tensor]]:
    """An AdamW's moments, by the number of the parameter.

    Args:
        state: what its `state_dict` was.
        optimizer: the one that resumes from them.
        what: its name, for messages.
        all_have_stepped: whether it must have moments of every parameter; otherwise it may have none.

    Raises:
        Damaged: for moments that are not those of its parameters.
    """
    parameters, saved = moments_of(state, optimizer, what)
    if len(saved) < len(parameters) and (saved or all_have_stepped):
        raise Damaged(f"{what} has moments of other parameters")
    for number, moments in saved.items():
        where, shape = f"{what}: parameter {number}", parameters[number].shape
        if not isinstance(moments, Mapping) or moments.keys() != {"step", *MOMENTS}:
            raise Damaged(f"{where} has other moments")
        check_tensor(moments["step"], (), torch.float32, f"{where}: step")
        for moment in MOMENTS:
            check_tensor(moments[moment], shape, parameters[number].dtype, f"{where}: {moment}")
        if moments["step"] < 1 or (moments["exp_avg_sq"] < 0).any():
            raise Damaged(f"{where} has moments that cannot be")
    return {number: dict(moments) for number, moments in saved.items()}


def check_position(position: Any, batches: Batches) -> None:
    """Check that a state's position in the data is one of these data.

    Raises:
        Damaged: when it is not.
    """
    keys = {"windows", "window", "order", "position", "bytes_read"}
    if not isinstance(position, Mapping) or position.keys() != keys:
        raise Damaged("the position in the data has other fields")
    windows, order = position["windows"], position["order"]
    if not _numbers_of(windows) == _numbers_of(batches.windows):
        raise Damaged("the position in the data is of other windows")
    check_tensor(order, (None,), torch.long, "order")
    if not torch.equal(order.sort().values, torch.arange(len(order))):
        raise Damaged("the order of a window is not a permutation")
    limits = {"window": len(windows), "position": len(order), "bytes_read": 2**63}
    for key, limit in limits.items():
        if type(position[key]) is not int or not 0 <= position[key] < limit:
            raise Damaged(f"batches: {key} is {position[key]!r}; expected a number from 0, below {limit}")


def _numbers_of(windows: Any) -> list[int] | None:
    """What all windows hold together, in ascending order; None for what are not windows."""
    if not isinstance(windows, list) or not all(isinstance(window, list) and window for window in windows):
        return None
    flat = [number for window in windows for number in window]
    return sorted(flat) if all(type(number) is int for number in flat) else None
