"""agreement.safetensors of a USAE folder: the share of several trainings in which each concept was found.

It is a file of its own, which earlier versions ignore.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from usae_train.files.tensor_files import load_file, safe_open, save_tensors
from usae_train.runtime.errors import UsageError

AGREEMENT = "agreement.safetensors"
SHARE_TENSOR = "share"  # the one tensor


def save_agreement(share: Tensor, folder: Path, usae_sha256: str) -> None:
    """Write shares (n_concepts,) into a USAE's folder, with the hash of the USAE's weights."""
    save_tensors({SHARE_TENSOR: share.cpu().float()}, folder / AGREEMENT, {"usae_sha256": usae_sha256})


def read_agreement(folder: Path, n_concepts: int, usae_sha256: str) -> Tensor | None:
    """Shares (n_concepts,), each above 0 and up to 1; None for a folder without the file.

    Raises:
        ValueError: for a file that is broken, of another form or of other weights.
    """
    file = folder / AGREEMENT
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as opened:
            sha256 = (opened.metadata() or {}).get("usae_sha256")
            has = {name: (*opened.get_slice(name).get_shape(),) for name in opened.keys()}  # noqa: SIM118
        if has != {SHARE_TENSOR: (n_concepts,)}:  # before memory is taken for it
            raise UsageError(f"{file} has {has}; expected {SHARE_TENSOR!r} of {n_concepts} concepts; remove it")
        share = load_file(file)[SHARE_TENSOR]
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} is broken or incomplete ({error}); remove it, or copy the USAE again") from error
    if sha256 != usae_sha256:
        raise UsageError(
            f"{file} belongs to another USAE (weights {str(sha256)[:12]}..., here {usae_sha256[:12]}...); remove it"
        )
    if not share.is_floating_point() or not bool(((share > 0) & (share <= 1)).all()):
        raise UsageError(f"{file} has numbers that are not shares, above 0 and up to 1; remove it")
    return share.to(torch.float32)
