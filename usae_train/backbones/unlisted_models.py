"""Models that timm does not name itself: a repository (`hf-hub:user/name@revision`) or a folder (`local-dir:PATH`).

Their config.json is a stranger's. It is read here and not by timm, and only what describes the network is taken from
it: its architecture, options that `options` lets through, its input. What else it says, such as places to fetch from,
is not looked at; weights are the repository's or folder's own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import timm
from pydantic import BaseModel, ConfigDict, Field

from usae_train.backbones.options import check_values
from usae_train.backbones.spec import LOCAL, Level, PositiveStd
from usae_train.files.json_files import parse_json, validate
from usae_train.files.regular import check_regular
from usae_train.runtime.errors import UsageError

HUB = ("hf-hub:", "hf_hub:")
CONFIG = "config.json"
MAX_CONFIG_BYTES = 16_000_000  # bytes of a config.json: with names of 21,843 classes timm's own have 3 million
Pixels = Annotated[int, Field(ge=1, le=2**14)]
Size = tuple[Annotated[int, Field(ge=1, le=16)], Pixels, Pixels]


class _Input(BaseModel):
    """What is taken of `pretrained_cfg`: how pictures come in."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    input_size: Size | None = None
    test_input_size: Size | None = None
    fixed_input_size: bool | None = None
    mean: tuple[Level, Level, Level] | None = None
    std: tuple[PositiveStd, PositiveStd, PositiveStd] | None = None
    num_classes: int | None = Field(None, ge=0, le=2**24)
    label_offset: int | None = Field(None, ge=0, le=2**24)
    pool_size: tuple[Pixels, Pixels] | None = None


class _Config(BaseModel):
    """timm's config.json."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    architecture: str = Field(min_length=1, max_length=100)
    num_classes: int | None = Field(None, ge=0, le=2**24)
    model_args: dict[str, Any] = Field(default_factory=dict)
    pretrained_cfg: _Input


class TimmDescription(NamedTuple):
    """What a config.json says of a model."""

    architecture: str  # timm's name
    options: dict[str, Any]  # for timm's classes, checked by value
    pretrained_cfg: dict[str, Any]  # in timm's form, without places


def is_unlisted(model: str) -> bool:
    """Whether an id names a repository or folder instead of an architecture of timm's."""
    return model.startswith((*HUB, LOCAL))


def read_description(name: str, model: str, file: Path) -> TimmDescription:
    """What a repository's or folder's config.json says.

    Args:
        name: the backbone's, for messages.
        model: what the spec calls it, for messages.
        file: the config.json.

    Raises:
        ValueError: for a file that is missing, broken, of another library, or asks for what shapes no network.
    """
    where = f"{name}: config.json of {model!r}"
    content = _read(where, file)
    if "architecture" not in content:
        form = f"that of Hugging Face's {content['model_type']}" if "model_type" in content else "of unknown form"
        raise UsageError(f"{where} is {form}; expected timm's form, with `architecture`, as timm writes it to the hub")
    try:
        # an older form has one mapping for all
        config = validate(_Config.model_validate, {"pretrained_cfg": content, **content})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    architecture = config.architecture.partition(".")[0]
    if not timm.is_model(architecture):
        raise UsageError(f"{where}: timm {timm.__version__} knows no architecture {architecture[:100]!r}")
    options = {key: value for key, value in config.model_args.items() if key not in ("num_classes", "img_size")}
    try:
        check_values(options)
    except UsageError as error:
        raise UsageError(f"{where}: model_args: {error}") from error
    return TimmDescription(architecture, options, _completed(architecture, config))


def _completed(architecture: str, config: _Config) -> dict[str, Any]:
    """What a config says of the input, with timm's own facts of the architecture."""
    timms = timm.models.get_pretrained_cfg(architecture, allow_unregistered=True)
    assert timms is not None  # timm knows the architecture, and then has one
    completed = {"input_size": (3, 224, 224), **config.pretrained_cfg.model_dump(exclude_none=True)}
    completed |= {"architecture": architecture, "first_conv": timms.first_conv, "classifier": timms.classifier}
    if config.num_classes is not None:
        completed["num_classes"] = config.num_classes
    if any(config.model_args.get(flag) for flag in ("dynamic_img_size", "use_naflex")):
        completed["fixed_input_size"] = False  # as timm itself reads older exports
    if completed.get("fixed_input_size") and (size := _rows_and_columns(config.model_args.get("img_size"))):
        completed["input_size"] = (completed["input_size"][0], *size)
    return completed


def _rows_and_columns(size: Any) -> tuple[int, int] | None:
    """An `img_size` of timm's; nothing where it is none."""
    sides = [size, size] if isinstance(size, int) else size
    good = isinstance(sides, list) and len(sides) == 2 and all(type(s) is int and 0 < s <= 2**14 for s in sides)
    return (sides[0], sides[1]) if good else None


def _read(where: str, file: Path) -> Mapping[str, Any]:
    check_regular(file)
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_CONFIG_BYTES + 1)
        content = parse_json(text) if len(text) <= MAX_CONFIG_BYTES else None
    except OSError as error:
        raise UsageError(f"{where} cannot be read at {file}: {error.strerror}") from error
    except UsageError as error:
        raise UsageError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{where} is not a JSON object of at most {MAX_CONFIG_BYTES // 1_000_000} MB")
    return content


def config_json_of(config: TimmDescription) -> str:
    """A config.json with what was taken from another, for a USAE folder."""
    input_facts = {key: value for key, value in config.pretrained_cfg.items() if key in _Input.model_fields}
    content = {"architecture": config.architecture, "model_args": config.options, "pretrained_cfg": input_facts}
    return json.dumps(content, indent=1) + "\n"
