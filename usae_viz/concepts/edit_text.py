"""Edits as a person types them, `12=0`, `seeds*2`, `eyes+1.5`, and those of backbones, `lite0:12=0`: what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from usae_train.interventions.edits import EditValue, parse_edits
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.concepts.written_edits import EDIT, OF_BACKBONE, SIGNS, written_edits

BackboneEdits = Mapping[str, Mapping[int, EditValue]]


def parse_edit_texts(usae: USAE, texts: Sequence[str], labels: Sequence[Label]) -> dict[int, EditValue]:
    """{concept: edit} of what was typed: `=` sets a code, `*` scales it, `+` adds to it; at every patch.

    Raises:
        ValueError: for a text of another form, an unknown concept or name, or one that is edited twice.
    """
    found: dict[int, EditValue] = {}
    for text in texts:
        parts = EDIT.fullmatch(text.strip())
        if parts is None:
            raise UsageError(f"the edit {text!r}: expected a concept, one of = * + and a number: 12=0, seeds*2")
        number = float(parts["number"])
        for concept in parse_concepts(usae, parts["concept"], labels):
            if concept in found:
                raise UsageError(f"the edit {text!r}: concept {concept} is edited twice")
            found[concept] = number if parts["sign"] == "=" else (SIGNS[parts["sign"]], number)
    return found


def edits_of(
    usae: USAE, texts: Sequence[str], labels: Sequence[Label] | None = None
) -> dict[str, dict[int, EditValue]]:
    """{backbone: {concept: edit}} of texts such as `lite0:12=0`.

    Args:
        usae: whose backbones and concepts.
        texts: as `written_edits` gives them.
        labels: names that go before all else; the USAE's own by default.

    Raises:
        ValueError: for an unknown backbone, concept or name, one that is edited twice, or a number that cannot be.
    """
    by_backbone: dict[str, list[str]] = {}
    for text in texts:
        parts = OF_BACKBONE.fullmatch(text)
        assert parts is not None
        by_backbone.setdefault(usae.known_name(parts["backbone"].strip()), []).append(parts["edit"])
    known = labels_of(usae) if labels is None and by_backbone else labels or []
    found = {backbone: parse_edit_texts(usae, own, known) for backbone, own in by_backbone.items()}
    for backbone, own in found.items():
        parse_edits(usae, own, backbone)
    return found


def edits_by_number(usae: USAE, texts: Sequence[str], labels: Sequence[Label] | None = None) -> tuple[str, ...]:
    """The same texts with each concept's number in the place of names and patterns.

    Raises:
        ValueError: as `edits_of`.
    """
    return tuple(written_edits(edits_of(usae, texts, labels)))
