"""USAEs on disk: saving, loading, and replacing statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from usae_train.backbones.backbone import Backbone
from usae_train.files.place_names import path_of_name
from usae_train.files.provenance import file_hash
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import ImageSource
from usae_train.model.places import EMBEDDED
from usae_train.model.statistics import Statistics
from usae_train.model.top_maps import MAPS
from usae_train.model.usae import USAE, check_usae
from usae_train.model.usae_folder import STATISTICS, WEIGHTS, origin_of, read_folder, write_folder
from usae_train.runtime.errors import UsageError


def save(
    usae: USAE, folder: str | Path, half: bool = False, beside: Sequence[Path] = (), card: str | None = None
) -> Path:
    """Write a USAE folder, whole or not at all.

    Local files of its backbones (weights, folders of `local-dir:`) are copied into it, so that it stands alone.

    Args:
        usae: what to save.
        folder: a folder that does not exist, or is empty.
        half: keep the weights in float16.
        beside: other files to copy into it, such as a training's metrics.jsonl.
        card: its README.md; a minimal one by default.

    Raises:
        ValueError: when the folder is not empty, or cannot be written.
    """
    check_usae(usae)
    return write_folder(usae, folder, half, beside, card)


def load(usae: str | Path, device: torch.device | str = "cpu", modules: Mapping[str, Backbone] | None = None) -> USAE:
    """Load a USAE: `demo`, `photos`, a USAE folder, or a repository of the Hugging Face hub (`user/name`).

    Args:
        usae: id or folder.
        device: where to put it.
        modules: {backbone: `ModuleBackbone`}, those given for training, which no folder holds.

    Raises:
        ValueError: for an unknown id, or a broken folder; the message says which file. For a
            module that the USAE has no backbone for, or of another width.
    """
    return read_folder(USAE, usae, device, modules)


def fills_statistics(usae: USAE, statistics: Statistics) -> bool:
    """Whether statistics should be written into a USAE's folder: it has one of its own, without better ones."""
    has_folder = usae.source not in EMBEDDED and (path_of_name(str(usae.source)) / WEIGHTS).is_file()
    return has_folder and (usae.statistics is None or bool(usae.statistics.counts[0] <= statistics.counts[0]))


def fill_statistics(usae: USAE, statistics: Statistics, source: ImageSource, factors: Sequence[str] = ()) -> Path:
    """Put statistics that were measured on a source into the folder that a USAE was loaded from.

    Args:
        usae: a USAE loaded from a folder.
        statistics: what replaces those in the folder.
        source: the pictures.
        factors: names of the rows of `statistics.auroc`, where the truth is known.

    Raises:
        ValueError: when it was not loaded from a folder that can be written, or the weights there have changed.
    """
    folder = path_of_name(str(usae.source))
    if usae.source in EMBEDDED or not (folder / WEIGHTS).is_file():
        raise UsageError(f"{usae.source} is not a folder of yours; save the USAE to one, and evaluate that")
    if (sha256 := file_hash(folder / WEIGHTS)) != usae.sha256:
        raise UsageError(f"the weights in {folder} changed while they were measured ({sha256[:12]}...); evaluate again")
    before, usae.measured_on = usae.measured_on, SourceRecord.of(source)
    usae.statistics, usae.factors = statistics, list(factors)
    statistics.save(folder / STATISTICS, origin_of(usae, sha256))
    if before.fingerprint != usae.measured_on.fingerprint:  # the maps are of other pictures
        usae.maps = None
        (folder / MAPS).unlink(missing_ok=True)
    return folder / STATISTICS
