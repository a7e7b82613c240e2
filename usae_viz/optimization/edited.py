"""Drawing through backbones with some concepts edited: what the edits mean, and whether they can change anything."""

from __future__ import annotations

from collections.abc import Sequence

from usae_train.interventions.importance import find_answering_site
from usae_train.interventions.intervene import find_site
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.edit_text import edits_of
from usae_viz.concepts.labels import Label
from usae_viz.concepts.written_edits import written_edits
from usae_viz.objectives import Objective
from usae_viz.settings import MaximizeSettings


def with_edits_bound(usae: USAE, settings: MaximizeSettings, labels: Sequence[Label] | None = None) -> MaximizeSettings:
    """The settings with the numbers of the concepts that are edited, for names; `labels` go before the USAE's own.

    Raises:
        ValueError: for an unknown backbone, concept or name, or an invalid number.
    """
    if not settings.edits:
        return settings
    return settings.model_copy(update={"edits": written_edits(edits_of(usae, settings.edits, labels))})


def check_edits(usae: USAE, settings: MaximizeSettings, objectives: Sequence[Objective]) -> None:
    """Check that edits can change what is drawn.

    Raises:
        ValueError: for edits of a layer that cannot be edited, or that do not reach a class that is drawn, or of
            backbones that none of the objectives is drawn through.
    """
    edits = edits_of(usae, settings.edits)
    for backbone in edits:
        find_site(usae, backbone)
        if any(backbone == owner for objective in objectives for owner, _ in objective.classes):
            find_answering_site(usae, backbone)
    backbones = {name for objective in objectives for name in objective.backbones or usae.names}
    if edits and not backbones & set(edits):
        raise UsageError(
            f"edits of {', '.join(edits)} change nothing: the objectives are drawn through "
            f"{', '.join(sorted(backbones))} alone"
        )
