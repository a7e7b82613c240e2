"""JSON as this project writes and prints it: of finite numbers, which is all that JSON has."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(values: Any, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """Values as JSON that anything reads: a number that is not finite becomes null, which is what JSON has for it.

    Python would write `NaN`, which is not JSON, and which neither a browser nor `files.json_files` reads.
    """
    try:
        return json.dumps(values, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        return json.dumps(without_nan(values), indent=indent, separators=separators, allow_nan=False)


def without_nan(values: Any) -> Any:
    """Values with None for every NaN or infinity, which JSON has no word for."""
    if isinstance(values, dict):
        return {key: without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
