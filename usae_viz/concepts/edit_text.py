"""Edits as a person types them: `12=0`, `seeds*2`, `eyes+1.5`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from usae_train.interventions.edits import EditValue
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label
from usae_viz.concepts.parsing import parse_concepts

EDIT = re.compile(r"(?P<concept>.+?)\s*(?P<sign>[=*+])\s*(?P<number>[^=*+]+)")
SIGNS = {"*": "scale", "+": "add"}


def parse_edit_texts(usae: USAE, texts: Sequence[str], labels: Sequence[Label]) -> dict[int, EditValue]:
    """{concept: edit} of what was typed: `=` sets a code, `*` scales it, `+` adds to it; at every patch.

    Raises:
        ValueError: for a text of another form, an unknown concept or name, or one that is edited twice.
    """
    found: dict[int, EditValue] = {}
    for text in texts:
        parts = EDIT.fullmatch(text.strip())
        number = None if parts is None else _number(parts["number"])
        if parts is None or number is None:
            raise UsageError(f"the edit {text!r}: expected a concept, one of = * + and a number: 12=0, seeds*2")
        for concept in parse_concepts(usae, parts["concept"], labels):
            if concept in found:
                raise UsageError(f"the edit {text!r}: concept {concept} is edited twice")
            found[concept] = number if parts["sign"] == "=" else (SIGNS[parts["sign"]], number)
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
