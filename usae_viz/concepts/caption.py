"""One line on a concept, for sheets and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from usae_train.model.outline import check_concept
from usae_viz.concepts.followed import FOLLOWS_AUROC, factor_followed
from usae_viz.concepts.labels import labels_of, names_by_concept

if TYPE_CHECKING:
    from usae_train.model.usae import USAE


def caption(usae: USAE, concept: int, names: Mapping[int, str] | None = None) -> str:
    """One line on a concept for a sheet: its number, its name if it has one, what it follows if that is known.

    Of a consensus also the share of the trainings in which it was found; of a private one, the backbone that has it.
    `names` are `names_by_concept` of the USAE's labels, if they have been read already.

    Raises:
        ValueError: when the USAE has no such concept.
    """
    followed, words = factor_followed(usae, check_concept(usae, concept)), list[str]()
    names = names_by_concept(labels_of(usae)) if names is None else names
    if concept in names:
        words.append(names[concept])
    if followed is not None:
        word = "follows" if followed.auroc >= FOLLOWS_AUROC else "nearest to"
        words.append(f"{word} {followed.value} (AUROC {followed.auroc:.2f})")
    if usae.agreement is not None:
        words.append(f"in {usae.agreement[concept].item():.0%} of the trainings")
    if (owner := usae.private.owner(concept)) is not None:
        words.append(f"private to {owner}")
    return f"concept {concept}" + (f": {', '.join(words)}" if words else "")
