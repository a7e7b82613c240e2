"""What a YAML file of settings may hold: checked on its events, of which none is large or made into anything yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent
from ruamel.yaml.nodes import ScalarNode

DEEPEST = 100  # lists and mappings inside one another: ours have six
LONGEST_NUMBER = 100  # characters; Python refuses to read some thousand digits
NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]")
DATE, NUMBERS = "tag:yaml.org,2002:timestamp", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def check_events(written: str, file: Path) -> None:
    """Nothing for plain words, numbers, lists and mappings, with anchors and aliases.

    Raises:
        ValueError: with the line, for tags, dates without quotes, numbers and nesting without end, characters that no
            text has, and an alias inside what it stands for.
        YAMLError: for what is no YAML.
    """
    yaml = YAML(typ="rt")
    open_anchors: list[str | None] = []
    for event in yaml.parse(written):
        why = None
        if isinstance(event, CollectionEndEvent):
            open_anchors.pop()
        elif isinstance(event, AliasEvent):
            why = "an alias that stands for itself; write out what is meant" if event.anchor in open_anchors else None
        elif isinstance(event, CollectionStartEvent):
            open_anchors.append(event.anchor)
            why = _unread(event)
            if len(open_anchors) > DEEPEST:
                why = (
                    f"more than {DEEPEST} lists and mappings inside one another; expected settings that a person wrote"
                )
        elif isinstance(event, ScalarEvent):
            why = _unread(event) or _unread_scalar(yaml, event)
        if why is not None:
            raise ValueError(f"{file}:{event.start_mark.line + 1}: {why}")


def _unread(event: Any) -> str | None:
    """Why a tag is refused: it asks for a type, and the settings know theirs themselves."""
    if event.tag is None:
        return None
    written = event.tag.replace("tag:yaml.org,2002:", "!!")
    return f"the tag {written}: expected plain words, numbers, lists and mappings; leave it out"


def _unread_scalar(yaml: YAML, event: Any) -> str | None:
    """Why a word or number cannot be one of settings."""
    if NO_TEXT.search(event.value):
        return f"{event.value[:40]!r} has a character that no text has"
    plain, _ = event.implicit
    if not plain:
        return None
    tag = str(yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
    if tag == DATE:
        return f"{event.value} is a date to YAML; put it in quotes"
    if tag in NUMBERS and len(event.value) > LONGEST_NUMBER:
        return f"a number of {len(event.value)} characters; expected at most {LONGEST_NUMBER}"
    return None
