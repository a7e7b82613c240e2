"""YAML files that people write: read with line numbers, checked by pydantic, answered in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from usae_train.files.binary import binary_kind
from usae_train.files.regular import check_regular
from usae_train.files.wording import expectation, shorten
from usae_train.files.yaml_checks import check_events
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import did_you_mean, one_line

Model = TypeVar("Model", bound=BaseModel)
MAX_YAML_BYTES = 200_000  # bytes: no person writes more, and a parser of Python is slow on what nests without end
MAX_VALUES = 100_000  # values, with every alias written out: a file of 1 kB can stand for billions
NAME_OF_TYPE = re.compile(r"function-|\[key\]")  # what pydantic puts at the end of a path that is not a key
KINDS = {"CommentedSeq": "a list", "NoneType": "nothing", "ScalarFloat": "a number", "int": "a number", "str": "a word"}


class Clash(PydanticCustomError):
    """What a validator of a whole mapping raises to point at the key deeper inside that is wrong.

    Args:
        why: what is wrong and what to do.
        inside: the path from the validated mapping to the key.
    """

    def __new__(cls, why: str, *inside: str | int) -> Clash:
        return super().__new__(cls, "clash", "{why}", {"why": why, "inside": list(inside)})


def read_mapping(file: str | Path, expected: str = "a YAML file of settings") -> CommentedMap:
    """A YAML file's mapping, which remembers its lines.

    Args:
        file: the file.
        expected: what is to be given, for the message of a file that holds no text.

    Raises:
        ValueError: for a file that is missing, not YAML, or not a mapping.
    """
    file = Path(file)
    check_regular(file)
    try:
        with file.open("rb") as opened:
            written = opened.read(MAX_YAML_BYTES + 1)
        if (kind := binary_kind(written)) is not None:
            raise UsageError(f"{file} is {kind}; expected {expected}")
        if len(written) > MAX_YAML_BYTES:
            raise UsageError(f"{file}: larger than {MAX_YAML_BYTES // 1000} kB; expected settings that a person wrote")
        text = written.decode()
        check_events(text, file)
        content = _composed(text, file)
        _check_size(content, file)
    except FileNotFoundError as error:
        raise UsageError(f"no file {str(file)!r}") from error
    except (OSError, UnicodeDecodeError) as error:  # its last character may be cut off
        raise UsageError(f"{file} cannot be read: {error}") from error
    except (YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{file}{where}: not valid YAML: {reason}") from error
    if not isinstance(content, CommentedMap):
        kind = type(content).__name__
        raise UsageError(f"{file}: expected a mapping (`key: value`) at the top, found {KINDS.get(kind, kind)}")
    return content


def _composed(text: str, file: Path) -> Any:
    """What the YAML says.

    Raises:
        ValueError: for a number of thousands of digits, or a tag whose value cannot be made: ruamel.yaml lets through
            whatever Python says of it.
        YAMLError: for what is not YAML.
    """
    try:
        return YAML(typ="rt").load(text)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not valid YAML: {one_line(error)[:200]}") from error


def _check_size(content: Any, file: Path) -> None:
    """Refuse aliases that stand for more than a person would write, or for themselves."""
    sizes: dict[int, int | None] = {}  # None while a part is being counted: met again, it holds itself

    def size(part: Any) -> int:
        if not isinstance(part, CommentedMap | CommentedSeq):
            return 1
        if id(part) not in sizes:
            sizes[id(part)] = None
            sizes[id(part)] = 1 + sum(map(size, part.values() if isinstance(part, CommentedMap) else part))
        count = sizes[id(part)]
        if count is None or count > MAX_VALUES:
            alias = "itself" if count is None else f"more than {MAX_VALUES} values"
            raise UsageError(f"{file}:{part.lc.line + 1}: an alias that stands for {alias}; write out what is meant")
        return count

    size(content)


def check_mapping(
    model: type[Model], content: CommentedMap, file: str | Path, inside: Sequence[str | int] = ()
) -> Model:
    """Validate a mapping of a file.

    Args:
        model: the schema.
        content: the mapping (a part of the file's).
        file: for the message.
        inside: where in the file the mapping stands.

    Raises:
        ValueError: with file, line, key, what was expected, and the nearest right key.
    """
    if odd := [key for key in content if not isinstance(key, str)]:
        raise UsageError(f"{file}:{key_line(content, odd[0])}: keys must be words (found {shorten(odd[0])})")
    try:
        validated = model.model_validate(dict(**content))
    except ValidationError as error:
        first = _most_telling(error.errors())
        path = _written(content, [*first["loc"], *first.get("ctx", {}).get("inside", ())])
        line = _line(content, path)
        name = ".".join(str(part) for part in (*inside, *path))
        if first["type"] == "extra_forbidden":
            keys = _fields(model, path[:-1])
            hint = did_you_mean(path[-1], keys) or f"; known keys are {', '.join(keys)}"
            raise UsageError(f"{file}:{line}: unknown key {name!r}{hint}") from None
        message = expectation(first)
        if not path or first["type"] in ("clash", "missing"):
            raise UsageError(f"{file}:{line}: {name + ': ' if name else ''}{message}") from None
        raise UsageError(f"{file}:{line}: {name}: {message} (found {shorten(first['input'])})") from None
    if (place := _false_number(content, validated)) is not None:
        name = ".".join(str(part) for part in (*inside, *place))
        raise UsageError(f"{file}:{_line(content, place)}: {name}: true and false are not numbers or words")
    return validated


def _most_telling(errors: Sequence[Any]) -> Any:
    """The first error; of those of one entry of several possible types, the one of the type that it seems to be."""
    same = [error for error in errors if error["loc"][:2] == errors[0]["loc"][:2]]
    return max(same, key=lambda error: (not error["type"].endswith("_type"), len(error["loc"])))


def _false_number(content: Any, model: Any) -> list[str | int] | None:
    """The path to a `true` or `false` that was taken for 1 or 0."""
    keys = content if isinstance(content, CommentedMap) else range(len(content))
    for key in keys:
        try:
            value = _value_of(model, key)
        except (AttributeError, LookupError, TypeError):  # not kept as it was written, so checked by who changed it
            continue
        if isinstance(content[key], bool) and not isinstance(value, bool):
            return [key]
        if isinstance(content[key], CommentedMap | CommentedSeq) and (path := _false_number(content[key], value)):
            return [key, *path]
    return None


def _value_of(model: Any, key: Any) -> Any:
    """What was made of a key, which a model may have by another name than an older file."""
    if isinstance(model, BaseModel):
        return getattr(model, getattr(model, "FORMER", {}).get(key, key))
    return model[key]


def _line(content: Any, path: Sequence[str | int]) -> int:
    """The line of the deepest part of a path that the file has."""
    line: int = content.lc.line + 1
    for part in path:
        if isinstance(content, CommentedMap) and part in content:
            line = key_line(content, part)
        elif isinstance(content, CommentedSeq) and isinstance(part, int) and part < len(content):
            line = content.lc.item(part)[0] + 1
        else:
            break
        content = content[part]
    return line


def key_line(content: CommentedMap, key: Any) -> int:
    """The line of a key; of one that `<<` brings in, where that has it."""
    if key in (content.lc.data or {}):
        return int(content.lc.key(key)[0]) + 1
    for merged in content.merge:
        if key in merged:
            return key_line(merged, key)
    return int(content.lc.line) + 1


def _written(content: Any, path: Sequence[str | int]) -> list[str | int]:
    """A path as the file has it: without the names of the types that pydantic tried on the way."""
    keys: list[str | int] = []
    for place, part in enumerate(path):
        inner = isinstance(content, CommentedMap) and part in content
        inner = inner or (isinstance(content, CommentedSeq) and isinstance(part, int) and part < len(content))
        if inner:
            content = content[part]
        last = place == len(path) - 1 and isinstance(content, CommentedMap) and NAME_OF_TYPE.match(str(part)) is None
        if inner or last:  # the last may be missing
            keys.append(part)
    return keys


def _fields(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that a schema has at a path of nested schemas."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is not None and (nested := _schemas(field.annotation)):
            model = nested[0]
    return list(model.model_fields)


def _schemas(annotation: Any) -> list[type[BaseModel]]:
    """The schemas in a type: `list[int | Selection]` has one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [schema for part in get_args(annotation) for schema in _schemas(part)]
