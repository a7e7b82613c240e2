"""Names for concepts: those in a USAE's folder, and a reader's own, the JSON that the explorer exports.

A name is what `usae_train.model.concept_names` lets one be: it means nothing else where concepts are typed.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from usae_train.files.homes import expand_home
from usae_train.files.json_files import read_json, validate
from usae_train.files.validation import FrozenModel
from usae_train.model.concept_names import FAVOURITES, bare_name, why_no_name
from usae_train.model.outline import UsaeDescription
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.warning_kinds import OneLineWarning


class Label(FrozenModel):
    """What a reader says of one concept."""

    concept: int = Field(ge=0)
    name: str = ""
    favourite: bool = False
    note: str = ""


class LabelFile(FrozenModel):
    """What the explorer exports."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(alias="schema")
    usae: str | None = None
    usae_sha256: str | None = None
    labels: list[Label]


def labels_of(usae: UsaeDescription, file: str | Path | None = None) -> list[Label]:
    """What concepts are called: the USAE's own labels, then those of a reader's file, which take precedence.

    A USAE's own labels may be older than the rules for names: invalid names are left out, with a warning. With an
    outline, whose weights are not read, it is not checked whether a file belongs to this USAE.

    Raises:
        ValueError: as `read_labels`.
    """
    file_of_usae = usae.labels_file
    of_usae = [] if file_of_usae is None else _without_wrong_names(file_of_usae, _labels_in(file_of_usae, usae))
    readers = [] if file is None else read_labels(file, usae)
    names = {bare_name(label.name) for label in readers}  # the reader's meaning of a name replaces the USAE's
    return [*(label for label in of_usae if bare_name(label.name) not in names), *readers]


def concepts_by_name(labels: Sequence[Label]) -> dict[str, list[int]]:
    """{name in small letters without spaces: its concepts}; `favourites` names all of them."""
    concepts: dict[str, list[int]] = {}
    for label in labels:
        for name in (label.name, FAVOURITES if label.favourite else ""):
            if name.strip():
                concepts.setdefault(bare_name(name), []).append(label.concept)
    return concepts


def names_and_notes(labels: Sequence[Label]) -> dict[int, dict[str, str]]:
    """{concept: its name and note}, of those that have a name; of two the later one."""
    return {label.concept: {"name": label.name, "note": label.note} for label in labels if label.name}


def names_by_concept(labels: Sequence[Label]) -> dict[int, str]:
    """{concept: its name}, of those that have one; of two the later one."""
    return {label.concept: label.name for label in labels if label.name}


def nearest_names(name: str, names: Iterable[str]) -> list[str]:
    """The known names closest in spelling, at most three; the first six where none is close."""
    by_bare_name = {bare_name(each): each for each in names}
    near = difflib.get_close_matches(bare_name(name), by_bare_name, n=3, cutoff=0.5) or list(by_bare_name)[:6]
    return [by_bare_name[each] for each in near]


def replace_names(text: str, names: Mapping[str, Sequence[int]]) -> str:
    """What a person typed for `--concept`, with a file's names replaced by their concepts' numbers.

    Example:
        >>> replace_names("red stripes, top:4", {"redstripes": [12, 40]})
        '12,40,top:4'
    """
    parts = [part.strip() for part in text.split(",")]
    return ",".join(",".join(map(str, names.get(bare_name(part), ()))) or part for part in parts)


def read_labels(file: str | Path, usae: UsaeDescription) -> list[Label]:
    """A labels file, what the explorer exported, checked by the USAE whose concepts it names.

    Raises:
        ValueError: for another kind of file, a name that `--concept` cannot take, or labels of another USAE.
    """
    labels = _labels_in(file, usae)
    for label in labels:
        if (why := _why_wrong(label)) is not None:
            raise UsageError(f"{file}: {why}; give it another name")
    return labels


def _labels_in(file: str | Path, usae: UsaeDescription) -> list[Label]:
    try:
        values = read_json(expand_home(file))
    except UsageError as error:
        raise UsageError(f"{file} cannot be read: {error}; expected the JSON that the explorer exports") from error
    try:
        content = validate(LabelFile.model_validate, values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}; expected the JSON that the explorer exports") from error
    if content.usae_sha256 is not None and usae.sha256 is not None and content.usae_sha256 != usae.sha256:
        raise UsageError(
            f"{file} names concepts of another USAE ({content.usae}, sha256 {content.usae_sha256[:12]}) than this one "
            f"({usae.sha256[:12]})"
        )
    for label in content.labels:
        if label.concept >= usae.n_concepts:
            raise UsageError(f"{file}: no concept {label.concept}; this USAE has {usae.n_concepts}")
    return content.labels


def _why_wrong(label: Label) -> str | None:
    if (why := why_no_name(label.name)) is None:
        return None
    name = json.dumps(label.name, ensure_ascii=False)
    return f"concept {label.concept} cannot be called {name}: {why} where concepts are typed"


def _without_wrong_names(file: str | Path, labels: Sequence[Label]) -> list[Label]:
    """Labels with valid names; the others without their names, with a warning."""
    wrong = [why for label in labels if (why := _why_wrong(label)) is not None]
    if wrong:
        more = f" (and {plural(len(wrong) - 1, 'name')} more)" if len(wrong) > 1 else ""
        warnings.warn(f"{file}: {wrong[0]}{more}; it has no name for now", OneLineWarning, stacklevel=3)
    return [label.model_copy(update={"name": ""}) if _why_wrong(label) else label for label in labels]
