"""What names pictures, as far as a name and a look at the disk tell. No torch: commands ask before they load it."""

from __future__ import annotations

import re
from pathlib import Path

from usae_train.files.place_names import path_of_name
from usae_train.runtime.errors import UsageError

_SHARDS = re.compile(r".*\.tar(:[\w.;]+)?", re.DOTALL)


def is_shards(text: str) -> bool:
    """Whether a text names tar shards, here or elsewhere, and not a folder of that name."""
    return text.startswith(("http://", "https://")) or (
        _SHARDS.fullmatch(text) is not None and not path_of_name(text).is_dir()
    )


def check_images(images: str | Path, limit: int | None = None) -> str:
    """What names pictures, as text; whether there are any is for `open_images` to find out.

    Raises:
        ValueError: for no name, a folder that is not there, a file, or a limit below 1.
    """
    text = str(images)
    # an unset variable of a shell's would be the folder that one is in
    if text in ("", "hf:") or text.startswith("hf::"):
        raise UsageError(f"no pictures named: {text!r}; expected a folder of pictures, or `demo`")
    if limit is not None and limit < 1:  # a slice would take all but the last ones
        raise UsageError(f"limit is {limit}; expected 1 picture or more")
    if text == "demo" or text.startswith(("demo:", "hf:")) or is_shards(text):
        return text
    folder = path_of_name(images)
    if not folder.exists():
        raise UsageError(f"no folder {text!r}; expected a folder of pictures, or `demo`")
    if not folder.is_dir():
        raise UsageError(f"{text!r} is a file; expected a folder of pictures, or `demo`")
    return text
