"""What stands over a sheet, and which folder of a run a picture is in."""

from __future__ import annotations

import re

from usae_train.model.usae import USAE
from usae_viz.concepts.naming import caption
from usae_viz.objectives import Concept, Objective
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.classes import class_name


def shown_concept(objective: Objective, settings: MaximizeSettings) -> int | None:
    """The concept whose patches stand under pictures: their own, or else the one that they are scored for."""
    return next(iter(objective.concepts), settings.verify)


def title_of(usae: USAE, objective: Objective) -> str:
    """What stands over an objective's sheet."""
    if isinstance(objective, Concept):
        return caption(usae, objective.concepts[0])
    if objective.concepts or not objective.classes:
        return str(objective)
    backbone, index = objective.classes[0]
    name = class_name(usae.specs[backbone].classes, index) if backbone in usae.specs else None
    return str(objective) if name is None else f"{objective}: {name}"


def folder_of(objective: Objective) -> str:
    """`concept-00412` for a concept alone; for any other objective a name made of its words."""
    if isinstance(objective, Concept) and len(objective.concepts) == 1 and str(objective).count(",") == 0:
        return f"concept-{objective.concepts[0]:05d}"
    return words_of(objective)


def words_of(objective: Objective) -> str:
    """A folder's name made of an objective's words."""
    words = re.sub(r"[^a-z0-9.]+", "-", str(objective).lower().replace(" - ", " minus ")).strip("-")
    return f"objective-{words[:80].rstrip('-')}"
