"""Edits as a person types them, `12=0`, `seeds*2`, `eyes+1.5`, and those of backbones, `lite0:12=0`: what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from usae_train.interventions.edits import EditValue, check_not_others, parse_edits, read_edit
from usae_train.model.outline import UsaeDescription
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import check_concepts, parse_concepts
from usae_viz.concepts.written_edits import EDIT, OF_BACKBONE, SIGNS

if TYPE_CHECKING:
    from usae_train.model.usae import USAE

BackboneEdits = Mapping[str, Mapping[int, EditValue]]


def parse_edit_texts(usae: USAE, texts: Sequence[str], labels: Sequence[Label]) -> dict[int, EditValue]:
    """{concept: edit} of what was typed: `=` sets a code, `*` scales it, `+` adds to it; at every patch.

    Raises:
        ValueError: for a text of another form, an unknown concept or name, or one that is edited twice.
    """
    edits: dict[int, EditValue] = {}
    for text, concepts, edit in _read(texts):
        for concept in parse_concepts(usae, concepts, labels):
            if concept in edits:
                raise UsageError(f"the edit {text!r}: concept {concept} is edited twice")
            edits[concept] = edit
    return edits


def check_edit_texts(usae: UsaeDescription, texts: Sequence[str], labels: Sequence[Label]) -> None:
    """Raise a ValueError as `parse_edit_texts`, where no statistics are needed, and for an impossible number."""
    for _, concepts, edit in _read(texts):
        check_concepts(usae, concepts, labels)
        read_edit(concepts, edit)


def _read(texts: Sequence[str]) -> Iterator[tuple[str, str, EditValue]]:
    """Each text, the concepts in it as they are written, and what is done to them."""
    for text in texts:
        parts = EDIT.fullmatch(text.strip())
        if parts is None:
            raise UsageError(f"the edit {text!r}: expected a concept, one of = * + and a number: 12=0, seeds*2")
        number = float(parts["number"])
        yield text, parts["concept"], number if parts["sign"] == "=" else (SIGNS[parts["sign"]], number)


def edits_of(
    usae: USAE, texts: Sequence[str], labels: Sequence[Label] | None = None
) -> dict[str, dict[int, EditValue]]:
    """{backbone: {concept: edit}} of texts such as `lite0:12=0`, as `written_edits` gives them.

    `labels` go before all else; the USAE's own by default.

    Raises:
        ValueError: for an unknown backbone, concept or name, one that is edited twice, or an invalid number.
    """
    by_backbone = _by_backbone(usae, texts)
    all_labels = labels_of(usae) if labels is None and by_backbone else labels or []
    parsed_edits = {backbone: parse_edit_texts(usae, edits, all_labels) for backbone, edits in by_backbone.items()}
    for backbone, edits in parsed_edits.items():
        check_not_others(usae, backbone, parse_edits(usae, edits))
    return parsed_edits


def check_edits_of(usae: UsaeDescription, texts: Sequence[str], labels: Sequence[Label]) -> None:
    """Raise a ValueError as `edits_of`, where no statistics are needed."""
    for edits in _by_backbone(usae, texts).values():
        check_edit_texts(usae, edits, labels)


def _by_backbone(usae: UsaeDescription, texts: Sequence[str]) -> dict[str, list[str]]:
    """{backbone: its edits, without its name}."""
    by_backbone: dict[str, list[str]] = {}
    for text in texts:
        parts = OF_BACKBONE.fullmatch(text)
        assert parts is not None
        by_backbone.setdefault(usae.check_backbone(parts["backbone"].strip()), []).append(parts["edit"])
    return by_backbone
