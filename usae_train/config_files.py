"""YAML files that people write: read with line numbers, checked by pydantic, answered in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from usae_train.backbones import PAPER, BackboneSpec

Model = TypeVar("Model", bound=BaseModel)


def read_mapping(file: str | Path) -> CommentedMap:
    """A YAML file's mapping, which remembers its lines.

    Raises:
        ValueError: for a file that is missing, no YAML, or no mapping.
    """
    file = Path(file)
    try:
        content = YAML(typ="rt").load(file.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"no file {str(file)!r}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    except (YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{file}{where}: no valid YAML: {reason}") from error
    if not isinstance(content, CommentedMap):
        raise ValueError(f"{file}: expected a mapping (`key: value`) at the top, found {type(content).__name__}")
    return content


def checked(model: type[Model], content: CommentedMap, file: str | Path, inside: Sequence[str | int] = ()) -> Model:
    """Validate a mapping of a file.

    Args:
        model: the schema.
        content: the mapping (a part of the file's).
        file: for the message.
        inside: where in the file the mapping stands.

    Raises:
        ValueError: with file, line, key, what was expected, and the nearest right key.
    """
    try:
        return model(**content)
    except ValidationError as error:
        first = error.errors()[0]
        path = first["loc"]
        line = _line(content, path)
        name = ".".join(str(part) for part in (*inside, *path))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _fields(model, path[:-1]), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(_fields(model, path[:-1]))}"
            raise ValueError(f"{file}:{line}: unknown key {name!r}{hint}") from error
        raise ValueError(f"{file}:{line}: {name}: {first['msg']} (found {first['input']!r})") from error
    except TypeError as error:
        raise ValueError(f"{file}: keys must be words: {error}") from error


def read_specs(text: str) -> dict[str, BackboneSpec]:
    """Turn what `--backbones` takes into specs: `paper`, `demo`, a YAML file, or timm ids with commas.

    The YAML maps a name of one's own to a spec. Weight files are taken relative to the YAML's folder.

    Raises:
        ValueError: for anything else.
    """
    if text == "paper":
        return dict(PAPER)
    if text == "demo":
        from usae_train.checkpoint import load

        return load("demo").specs
    if text.endswith((".yaml", ".yml")):
        content = read_mapping(text)
        specs = {}
        for name, own in content.items():
            if not isinstance(own, CommentedMap):
                line = content.lc.key(name)[0] + 1
                raise ValueError(f"{text}:{line}: {name}: expected a mapping such as `model: vit_base_patch16_224`")
            specs[str(name)] = checked(BackboneSpec, own, text, [str(name)]).relative_to(Path(text).parent)
        if not specs:
            raise ValueError(f"{text}: no backbones in it")
        return specs
    models = [part.strip() for part in text.split(",") if part.strip()]
    if not models:
        raise ValueError("no backbones; expected `paper`, `demo`, a YAML file, or timm ids with commas")
    specs = {spec.short_name: spec for spec in (BackboneSpec(model=model) for model in models)}
    if len(specs) < len(models):
        raise ValueError(f"{text!r} names a backbone twice; give them names of their own in a YAML file")
    return specs


def _line(content: Any, path: Sequence[str | int]) -> int:
    """The line of the deepest part of a path that the file has."""
    line = content.lc.line + 1
    for part in path:
        if isinstance(content, CommentedMap) and part in content:
            line = content.lc.key(part)[0] + 1
        elif isinstance(content, CommentedSeq) and isinstance(part, int) and part < len(content):
            line = content.lc.item(part)[0] + 1
        else:
            break
        content = content[part]
    return line


def _fields(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that a schema has at a path of nested schemas."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field is not None else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)
