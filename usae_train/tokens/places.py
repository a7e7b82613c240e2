"""What names tokens: a store's folder, or files of theirs. No torch: commands ask before they load it."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.atomic import check_file
from usae_train.files.json_files import read_json
from usae_train.files.place_names import path_of_name
from usae_train.runtime.errors import UsageError

RECORD = "store.json"  # of an activation store
TOKEN_SUFFIXES = (".npy", ".safetensors")
EXPECTED_TOKENS = "expected NAME=PLACE,NAME=PLACE,...: .npy, .safetensors or saev's shards; or one .safetensors of all"


def is_store(place: str | Path) -> bool:
    """Whether a place is an activation store, finished or not."""
    return (path_of_name(place) / RECORD).is_file()


def check_store_place(out: Path) -> None:
    """Check that a store may be begun or resumed there.

    Raises:
        ValueError: for a finished store, and for a folder that holds something else.
    """
    if is_store(out):
        if (read_json(out / RECORD) or {}).get("complete"):
            raise UsageError(f"{out} is a finished store, which is never changed; choose another --out")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} exists already and is not a store; choose another --out, or remove it first")
    check_file(out / RECORD)


def names_tokens(place: str) -> bool:
    """Whether a text is of token files: `NAME=PLACE,...` or one .safetensors file, and not of pictures or a store."""
    name, sign, _ = place.partition("=")
    if sign and "/" not in name and "{" not in name and ":" not in name:
        return not path_of_name(place).exists()
    return place.endswith(TOKEN_SUFFIXES) and path_of_name(place).is_file()


def named_tokens(place: str) -> dict[str, str] | None:
    """{backbone: the place of its tokens} of `NAME=PLACE,NAME=PLACE,...`; None for another text.

    Raises:
        ValueError: for a part that names no tokens, and a name that stands there twice.
    """
    if "=" not in place or path_of_name(place).exists():
        return None
    place_of: dict[str, str] = {}
    for part in place.split(","):
        name, _, tokens_place = part.strip().partition("=")
        if not name or not tokens_place:
            raise UsageError(f"{part.strip()!r} names no tokens; {EXPECTED_TOKENS}")
        if name in place_of:
            raise UsageError(f"{name} is named twice; {EXPECTED_TOKENS}")
        place_of[name] = tokens_place
    return place_of
