"""Which weights, files and software pictures are made with: what run.json and every PNG keep."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.files.provenance import commit, file_hash, versions
from usae_train.model.places import EMBEDDED
from usae_train.model.usae import USAE
from usae_viz.parameterizations.spectra import spectrum_hash
from usae_viz.settings import MaximizeSettings
from usae_viz.views.precision import dtype_for


def drawn_on(usae: USAE, settings: MaximizeSettings) -> dict[str, Any]:
    """What besides the settings decides a picture's last bits."""
    device = usae.device
    used = {name: str(dtype_for(settings.dtype, b)).removeprefix("torch.") for name, b in usae.backbones.items()}
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return {"device": device.type, "dtype": used, "threads": threads}


def provenance(usae: USAE, settings: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """Which weights, natural spectrum (the first that the settings name) and software pictures are made with."""
    spectra = dict.fromkeys(spectrum_hash(each.spectrum) for each in settings if each.spectrum)
    return {
        "usae": _with_whole_path(usae.source),
        "usae_sha256": usae.sha256,
        "spectrum_sha256": next(iter(spectra), None),
        "versions": versions(),
        "commit": commit(),
        **custom_hashes(settings),
    }


def custom_hashes(settings: Sequence[MaximizeSettings]) -> dict[str, dict[str, str | None]]:
    """{`own_sha256`: {name of a custom part: sha256 of its code}}; nothing where there is none."""
    hashes = {part.text: part.sha256 for each in settings for part in each.custom_parts}
    return {"own_sha256": hashes} if hashes else {}


def _with_whole_path(source: str | None) -> str | None:
    """An id as it is, a folder from the root: pictures and records are read from other places too."""
    if source is None or source in EMBEDDED or not (folder := path_of_name(source)).joinpath("config.json").is_file():
        return source
    return name_as_utf8(str(folder.absolute()))


def given_hashes(settings: MaximizeSettings) -> dict[str, str]:
    """{`start` or `reference`: sha256} of the files that a drawing begins at or is compared with.

    What is not in a file, or is no longer there, is left out.
    """
    hashes: dict[str, str] = {}
    for name, file in settings.given_pictures.items():
        with suppress(OSError):
            hashes[name] = file_hash(path_of_name(file))
    return hashes
