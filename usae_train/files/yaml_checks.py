"""What a YAML file of settings may hold: checked on its events, of which none is large or made into anything yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import ScalarNode

from usae_train.files.json_files import MAX_NESTING
from usae_train.runtime.errors import UsageError

MAX_NUMBER_LENGTH = 100  # characters; Python refuses to read some thousand digits
NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]")
DATE, NUMBERS = "tag:yaml.org,2002:timestamp", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def check_events(written: str, file: Path) -> None:
    """Refuse all but plain words, numbers, lists and mappings, with anchors and aliases.

    Raises:
        ValueError: with the line, for tags, unquoted dates, endless numbers or nesting, characters that text cannot
            have, and an alias inside what it stands for.
        YAMLError: for what is not YAML.
    """
    yaml, within = YAML(typ="rt"), list[_Open]()
    for event in yaml.parse(written):
        why = None
        if isinstance(event, CollectionEndEvent):
            within.pop()
        elif isinstance(event, NodeEvent):
            why = _unread(yaml, event, [each.anchor for each in within])
            if within and within[-1].place() and isinstance(event, CollectionStartEvent):
                # ruamel.yaml 0.19 composes one several times, each within it again: of 12 levels 0.8 s, of 16 minutes
                why = "a list or mapping is not a key; expected a word"
        if isinstance(event, CollectionStartEvent):
            within.append(_Open(event.anchor, isinstance(event, MappingStartEvent)))
        if len(within) > MAX_NESTING:
            why = f"nested deeper than {MAX_NESTING} levels; expected settings that a person wrote"
        if why is not None:
            raise UsageError(f"{file}:{event.start_mark.line + 1}: {why}")


@dataclass
class _Open:
    """A list or mapping that has begun."""

    anchor: str | None
    is_mapping: bool
    count: int = 0  # of what is in it, keys and values

    def place(self) -> bool:
        """Whether what comes next is a key; one further."""
        self.count += 1
        return self.is_mapping and self.count % 2 == 1


def _unread(yaml: YAML, event: Any, open_anchors: Sequence[str | None]) -> str | None:
    """Why a list, mapping, word, number or alias is refused."""
    if isinstance(event, AliasEvent):
        return "an alias that stands for itself; write out what is meant" if event.anchor in open_anchors else None
    if event.tag is not None:  # it asks for a type, and the settings know theirs themselves
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        return f"the tag {tag}: expected plain words, numbers, lists and mappings; leave it out"
    return _unread_scalar(yaml, event) if isinstance(event, ScalarEvent) else None


def _unread_scalar(yaml: YAML, event: Any) -> str | None:
    """Why a word or number cannot be one of settings."""
    if NO_TEXT.search(event.value):
        return f"{event.value[:40]!r} has a character that text cannot have"
    plain, _ = event.implicit
    if not plain:
        return None
    tag = str(yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
    if tag == DATE:
        return f"{event.value} is a date to YAML; put it in quotes"
    if tag in NUMBERS and len(event.value) > MAX_NUMBER_LENGTH:
        return f"a number of {len(event.value)} characters; expected at most {MAX_NUMBER_LENGTH}"
    return None
