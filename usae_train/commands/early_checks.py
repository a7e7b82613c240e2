"""What was typed, checked by text and small files alone: a mistake is answered before torch or a network is loaded.

What does the work checks all of it again, with what weights and pictures tell. Loading torch takes seconds, and
so do networks (tests/benchmarks/mistakes.py has the figures).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from usae_train.backbones.spec import BackboneSpec
from usae_train.files.atomic import check_free
from usae_train.files.locks import folder_lock
from usae_train.files.place_names import path_of_name
from usae_train.images.places import check_images
from usae_train.model.outline import outline_here
from usae_train.model.spec_files import read_specs
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.terminal import is_alone, wrong_usage
from usae_train.tokens.places import EXPECTED_TOKENS, is_store, named_tokens, names_tokens
from usae_train.tokens.settings import DEFAULT_BACKBONES
from usae_train.training.resolving import allowed_memory, fit_settings
from usae_train.training.settings import DEFAULT, ExecutionSettings, FitSettings
from usae_train.training.states_folder import states_folder


def typed_settings(settings: Mapping[str, Any], execution: ExecutionSettings) -> FitSettings:
    """The settings of a training as they were typed, checked; what cannot be is wrong usage."""
    with wrong_usage():
        chosen = fit_settings(**{"recipe": DEFAULT.name, **settings})
        allowed_memory(execution.memory)
    return chosen


def check_training(out: Path, resume: bool, from_starts: bool = False) -> None:
    """Check that a training may be written there, and none waits there that is not to be resumed.

    Args:
        out: the folder to write.
        resume: whether a training that waits is to be resumed.
        from_starts: whether it is several trainings, which are resumed by themselves.

    Raises:
        ValueError: as `folder_lock`, `check_free` and `states_folder`.
    """
    if is_alone():  # of several processes that train as one the first holds the folder
        with folder_lock(out):
            check_free(out)
            if not from_starts:
                states_folder(out, resume)


def check_data(images: str, backbones: str | None, limit: int | None = None) -> None:
    """Check that there is what a training is to see: token files, a store, or pictures and backbones for them.

    Raises:
        ValueError: for what is not there, and for backbones that cannot be.
    """
    if not has_data(images, limit):
        read_specs(backbones or DEFAULT_BACKBONES)


def has_data(data: str, limit: int | None = None) -> bool:
    """Whether token files or a store are there, which need no backbones; False for pictures.

    Raises:
        ValueError: for what is not there.
    """
    if names_tokens(data):
        for place in (named_tokens(data) or {}).values():
            if not _is_there(place):
                raise UsageError(f"there is no {place}; {EXPECTED_TOKENS}")
        return True
    if not is_store(data):
        check_images(data, limit)
        return False
    return True


def one_backbone(backbone: str, what: str) -> tuple[str, BackboneSpec]:
    """The one backbone that is named: its name and spec.

    Args:
        backbone: what `--backbone` was given.
        what: why it is one, for the message.

    Raises:
        ValueError: for what names no backbone, or several.
    """
    specs = read_specs(backbone)
    if len(specs) != 1:
        raise UsageError(f"--backbone names {plural(len(specs), 'backbone')}: {', '.join(specs)}; {what}")
    return next(iter(specs.items()))


def check_usaes(usaes: Sequence[str]) -> None:
    """Check that each is on this machine, or may be on the hub.

    Raises:
        ValueError: for the first that is neither.
    """
    for usae in usaes:
        outline_here(usae)


def _is_there(place: str) -> bool:
    folder, _, layer = place.rpartition("@")  # a layer of saev's
    return path_of_name(place).exists() or (layer.lstrip("-").isdigit() and path_of_name(folder).is_dir())
