"""`uv.concept_table`: what is known of a USAE's concepts, as a data frame.

It is not called `concepts`: that is the package `usae_viz.concepts`, which Python sets as an attribute of `usae_viz`
whenever anything in it is imported, over whatever had that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usae_train.files.whole_numbers import at_least
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.tables import Table
from usae_train.runtime.warning_kinds import former_arguments
from usae_viz.concepts.labels import labels_of, names_by_concept
from usae_viz.concepts.ranking import ConceptRow, concept_rows
from usae_viz.concepts.settings import Sort, default_sort

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]


@former_arguments(limit="top")
def concept_table(
    usae: USAE,
    sort: Sort | None = None,
    *,
    private: str | None = None,
    labels: str | Path | None = None,
    top: int | None = None,
) -> pandas.DataFrame | Table:
    """A row for each concept: what `usae-viz concepts` lists.

    Args:
        usae: with statistics.
        sort: universality, energy, entropy, fires, auroc or agreement, the largest first; or index. Universality by
            default, of private concepts energy.
        private: only what this backbone has for itself, where the USAE was trained with private concepts.
        labels: your own names for concepts, the JSON that the explorer exports, beside those that the USAE has.
        top: how many of the list, from 0; all by default.

    Returns:
        A pandas DataFrame; without pandas a `Table` of the same columns: `concept` (its number), `name` (or None),
        `universality` 0..1, `entropy` 0..1 (None where it never fires), `energy`, `fires NAME` of each backbone (share
        of the tokens, 0..1), where the truth is known `follows` and `auroc`, and of a consensus `agreement` (share of
        its trainings, 0..1), and where some are private `private` (the backbone that alone has it, or None).

    Raises:
        ValueError: for a USAE without statistics, an order or private concepts that it does not have, a labels file
            that cannot be read, or another `top`.

    Example:
        >>> import usae_train as ut
        >>> len(concept_table(ut.load("demo"), top=5))
        5
    """
    check_usae(usae)
    if top is not None:
        at_least(0, top, "top")
    names = names_by_concept(labels_of(usae, labels))
    order = sort or default_sort(private)
    rows = [_cells(usae, row, names) for row in concept_rows(usae, order, top, private)]
    if find_spec("pandas") is not None:
        import pandas

        return pandas.DataFrame(rows, columns=_columns(usae))
    values = [tuple(row.values()) for row in rows]
    return Table(f"{usae.source or 'USAE'}: concepts by {order}", tuple(_columns(usae)), values)


def _columns(usae: USAE) -> list[str]:
    truth = ["follows", "auroc"] if usae.factors else []
    agreed = [] if usae.agreement is None else ["agreement"]
    private = ["private"] if usae.private else []
    fires = [f"fires {name}" for name in usae.names]
    return ["concept", "name", "universality", "entropy", "energy", *fires, *truth, *agreed, *private]


def _cells(usae: USAE, row: ConceptRow, names: Mapping[int, str]) -> dict[str, Any]:
    followed = row.follows
    cells: dict[str, Any] = {
        "concept": row.concept,
        "name": names.get(row.concept),
        "universality": row.universality,
        "entropy": row.entropy,
        "energy": row.energy,
        **{f"fires {name}": share for name, share in zip(usae.names, row.firing_share, strict=True)},
        "follows": None if followed is None else followed.value,
        "auroc": None if followed is None else followed.auroc,
        "agreement": row.agreement,
        "private": row.private,
    }
    return {column: cells[column] for column in _columns(usae)}
