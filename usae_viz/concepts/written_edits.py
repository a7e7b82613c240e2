"""Edits of backbones' concepts as settings keep them, `lite0:12=0`, and the other ways in which they are written.

No torch: command lines read it. What they mean in a USAE is for edit_text.py to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from usae_train.runtime.errors import UsageError

# nan and inf are refused by name
NUMBER_PATTERN = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:nan|inf))"
EDIT = re.compile(rf"(?P<concept>.+?)\s*(?P<sign>[=*+])\s*(?P<number>{NUMBER_PATTERN})")
SIGNS = {"*": "scale", "+": "add"}
SIGN_OF = {kind: sign for sign, kind in SIGNS.items()} | {"set": "="}
OF_BACKBONE = re.compile(rf"(?P<backbone>[^:=*+]+):\s*(?P<edit>{EDIT.pattern})")
EXPECTED_EDIT = "expected `BACKBONE:CONCEPT=NUMBER` (or * or + for =), or {BACKBONE: {CONCEPT: NUMBER}}"


def written_edits(value: Any) -> Any:
    """The edits of backbones as `lite0:12=0` each.

    Args:
        value: a text or several; or {backbone: {concept: number, "*2", "+1.5", ("scale", 2.0) or ("add", 1.5)}}, or
            {backbone: a text such as `12=0`, or several}.

    Raises:
        ValueError: for a text or value of another form.
    """
    if isinstance(value, Mapping):
        return tuple(text for backbone, edits in value.items() for text in _of_backbone(str(backbone), edits))
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise UsageError(EXPECTED_EDIT)
    for text in texts:
        if OF_BACKBONE.fullmatch(text.strip()) is None:
            raise UsageError(f"the edit {text!r}: {EXPECTED_EDIT}")
    return tuple(text.strip() for text in texts)


EditTexts = Annotated[tuple[str, ...], BeforeValidator(written_edits)]


def _of_backbone(backbone: str, edits: Any) -> Iterator[str]:
    if isinstance(edits, Mapping):
        edits = [_one(concept, edit) for concept, edit in edits.items()]
    for edit in [edits] if isinstance(edits, str) else edits if isinstance(edits, Sequence) else [edits]:
        text = f"{backbone}:{edit}"
        if not isinstance(edit, str) or OF_BACKBONE.fullmatch(text) is None:
            raise UsageError(f"the edit {edit!r} of {backbone}: {EXPECTED_EDIT}")
        yield text


def _one(concept: Any, edit: Any) -> str:
    """`12=0` of a concept and what is done to its code."""
    if isinstance(edit, str):
        return f"{concept}{edit.strip()}"
    kind, number = edit if isinstance(edit, list | tuple) and len(edit) == 2 else ("set", edit)
    if kind not in SIGN_OF or isinstance(number, bool) or not isinstance(number, int | float):
        raise UsageError(f"the edit of {concept} is {edit!r}; {EXPECTED_EDIT}")
    return f"{concept}{SIGN_OF[kind]}{short_number(number)}"


def short_number(number: float) -> str:
    """The shortest text that reads back as the same number; an integer that no float can hold is `inf`."""
    try:
        return repr(float(number)).removesuffix(".0")
    except OverflowError:
        return "inf" if number > 0 else "-inf"
