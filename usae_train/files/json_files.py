"""JSON as this project reads it, whoever wrote it: of a bounded size and depth, its numbers finite and of 64 bits.

JSON knows no NaN and no end of nesting; Python's reader takes the one and ends in a RecursionError at the other, and
numbers of any length go through to where torch cannot take them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from usae_train.files.binary import binary_kind
from usae_train.files.regular import another_kind
from usae_train.files.wording import expectation, shorten, shows_value
from usae_train.runtime.errors import UsageError

Validated = TypeVar("Validated")
MAX_JSON_BYTES = 256_000_000  # bytes: the record of a run of 100,000 drawings has 30 MB
MAX_NESTING = 64  # lists and objects within each other; what is written here has 8 at most
MIN_NUMBER, MAX_NUMBER = -(2**63), 2**64  # of whole numbers, seeds among them


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: for a file that is missing or not JSON of the form above; says why, without the file's name.
    """
    if (kind := another_kind(file)) is not None:
        raise UsageError(f"it is {kind}; expected a file")
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
    if len(content) > MAX_JSON_BYTES:
        raise UsageError(f"it is larger than {MAX_JSON_BYTES // 1_000_000} MB")
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """What JSON says: of a file, or of a part of one.

    Raises:
        ValueError: in one line, which says where.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        values = json.loads(text, parse_constant=_not_finite, parse_float=_finite_number, parse_int=_whole)
    except UnicodeDecodeError as error:
        kind = binary_kind(content) if isinstance(content, bytes) else None
        raise UsageError(f"it is {kind or f'not UTF-8 at byte {error.start}'}") from error
    except json.JSONDecodeError as error:
        raise UsageError(str(error)) from error
    except RecursionError as error:
        raise UsageError(f"it is nested deeper than {MAX_NESTING} levels") from error
    _check_depth(values)
    return values


def read_object(file: Path) -> dict[str, Any]:
    """A file's JSON object.

    Raises:
        ValueError: as `read_json`, and for JSON that is not an object.
    """
    return as_object(read_json(file))


def read_named_object(file: Path) -> dict[str, Any]:
    """A file's JSON object, where an error begins with the file's name.

    Raises:
        ValueError: as there.
    """
    try:
        return read_object(file)
    except UsageError as error:
        raise UsageError(f"{file} is not a valid JSON object: {error}") from error


def read_object_or_empty(file: Path) -> dict[str, Any]:
    """A file's JSON object; an empty one where there is none that can be read."""
    try:
        return read_object(file)
    except UsageError:
        return {}


def as_object(values: Any) -> dict[str, Any]:
    """The same object.

    Raises:
        ValueError: for what is not one.
    """
    if not isinstance(values, dict):
        raise UsageError(f"it holds {type(values).__name__}, expected an object such as {{...}}")
    return values


def validate(check: Callable[[Any], Validated], values: Any) -> Validated:
    """What was read, as a schema has it.

    Args:
        check: a model's `model_validate`, a type adapter's `validate_python`.
        values: what was read.

    Raises:
        ValueError: in one line: the key, and what was expected there.
    """
    try:
        return check(values)
    except ValidationError as error:
        raise UsageError(fault_in(error)) from None
    except RecursionError as error:
        raise UsageError(f"it is nested deeper than {MAX_NESTING} levels") from error


def fault_in(error: ValidationError) -> str:
    """The first of what pydantic found wrong: `key.inner: what was expected (found 3)`."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    message = expectation(first) + (f" (found {shorten(first['input'])})" if shows_value(first) else "")
    return f"{key}: {message}" if key else message


def _check_depth(values: Any) -> None:
    level = [values] if isinstance(values, dict | list) else []
    for _ in range(MAX_NESTING):
        parts = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    raise UsageError(f"it is nested deeper than {MAX_NESTING} levels")


def _not_finite(word: str) -> NoReturn:
    raise UsageError(f"it holds {word}, which is not a JSON number")


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UsageError(f"it holds the number {_short(text)}, which is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > len(str(MAX_NUMBER)) or not MIN_NUMBER <= (number := int(text)) < MAX_NUMBER:
        raise UsageError(f"it holds the number {_short(text)}, which is too large")
    return number


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:21] + "..."
