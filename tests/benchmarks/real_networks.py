"""Where real weights and photographs lie, for tests marked `real` and for benchmarks; neither needs them to exist."""

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "real"
WHERE = "put the folder `real` (specs.yaml, weights, photos) into ../shared, or name it in USAE_REAL"


def real_folder() -> Path | None:
    """The folder, or None where there is none.

    Raises:
        ValueError: when USAE_REAL names a folder without specs.yaml.
    """
    named = os.environ.get("USAE_REAL")
    folder = Path(named) if named else BESIDE
    if (folder / "specs.yaml").is_file():
        return folder
    if named:
        raise ValueError(f"USAE_REAL is {named!r}; expected a folder with specs.yaml, weights and photos")
    return None


def needs_real_folder() -> Path:
    """The folder; for scripts, which end where there is none."""
    folder = real_folder()
    if folder is None:
        raise SystemExit(f"no real networks: {WHERE}")
    return folder
