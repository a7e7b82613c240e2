"""Where the states of a training lie. No torch: commands ask before they load it."""

from __future__ import annotations

from pathlib import Path

from usae_train.runtime.errors import UsageError


def states_folder(out: Path, resume: bool) -> Path:
    """Where the states of the training of a folder lie until it is finished: beside it.

    Raises:
        ValueError: when there are some, and `resume` is False.
    """
    states = out.with_name(f".{out.name}.training")
    if states.exists() and not resume:
        raise UsageError(f"a training that was stopped lies in {states}; give --resume to continue it, or remove it")
    return states
