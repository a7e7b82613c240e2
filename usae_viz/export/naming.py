"""The title of a sheet, and the folder of a run that a picture is in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from usae_train.interventions.edits import EditValue
from usae_train.model.usae import USAE
from usae_viz.concepts.caption import caption
from usae_viz.concepts.edit_text import edits_of
from usae_viz.concepts.labels import labels_of, names_by_concept
from usae_viz.objectives import Concept, Objective
from usae_viz.objectives.class_names import class_name
from usae_viz.settings import MaximizeSettings

SIGNS_IN_WORDS = {"set": "at", "scale": "times", "add": "plus"}


def shown_concept(objective: Objective, settings: MaximizeSettings) -> int | None:
    """The concept whose patches are shown under pictures: their own, or else the one that they are scored for."""
    return next(iter(objective.concepts), settings.verify)


def title_of(usae: USAE, objective: Objective) -> str:
    """The title of an objective's sheet."""
    if isinstance(objective, Concept):
        return caption(usae, objective.concepts[0])
    if objective.concepts or not objective.classes:
        return str(objective)
    backbone, index = objective.classes[0]
    name = class_name(usae.specs[backbone].classes, index) if backbone in usae.specs else None
    return str(objective) if name is None else f"{objective}: {name}"


def title_with_edits(title: str, usae: USAE, settings: Mapping[str | None, MaximizeSettings]) -> str:
    """A sheet's title, as `title_of`, and what each variant's settings edit in the backbones it was drawn through."""
    edit_words = {variant: edits_in_words(usae, each) for variant, each in settings.items()}
    if len(set(edit_words.values())) == 1:
        words = next(iter(edit_words.values()))
        return f"{title}, through {words}" if words else title
    return "; ".join([title, *(f"{variant}: through {words}" for variant, words in edit_words.items() if words)])


def edits_in_words(usae: USAE, settings: MaximizeSettings) -> str:
    """`lite0 without concept 12 (seeds)`; nothing where nothing is edited."""
    if not settings.edits:
        return ""
    names = {concept: f"{concept} ({name})" for concept, name in names_by_concept(labels_of(usae)).items()}
    return " and ".join(
        f"{backbone} {_edits_in_words({names.get(concept, str(concept)): edit for concept, edit in edits.items()})}"
        for backbone, edits in edits_of(usae, settings.edits).items()
    )


def _edits_in_words(edits: Mapping[str, EditValue]) -> str:
    """`without concepts 18, 30`, then those that are not taken away, of {concept as it is called: edit}."""
    removed = [concept for concept, edit in edits.items() if edit == 0]
    words = [f"without concept{'s' if len(removed) > 1 else ''} {', '.join(removed)}"] if removed else []
    for concept, edit in edits.items():
        if concept not in removed:
            kind, number = edit if isinstance(edit, tuple) else ("set", edit)
            words.append(f"with concept {concept} {SIGNS_IN_WORDS[kind]} {number:g}")
    return ", ".join(words)


def objective_folder(objective: Objective) -> str:
    """`concept-00412` for a concept alone; for any other objective a name made of its words."""
    if isinstance(objective, Concept) and len(objective.concepts) == 1 and str(objective).count(",") == 0:
        return f"concept-{objective.concepts[0]:05d}"
    return words_of(objective)


def words_of(objective: Objective) -> str:
    """A folder's name made of an objective's words."""
    words = re.sub(r"[^a-z0-9.]+", "-", str(objective).lower().replace(" - ", " minus ")).strip("-")
    return f"objective-{words[:80].rstrip('-')}"
