"""`usae-viz concepts`: a list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.runtime.printing import as_text, figure_table, say, say_json, say_table
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.terminal import one_line_errors
from usae_viz.commands.completions import complete_usae
from usae_viz.commands.options import JsonForTable
from usae_viz.concepts.settings import DEFAULT_ROWS, ConceptsSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from usae_train.model.usae import USAE
    from usae_viz.concepts.ranking import ConceptRow


@takes_settings(ConceptsSettings, completions={"usae": complete_usae})
def concepts(
    settings: ConceptsSettings,
    only_named: Annotated[bool, typer.Option("--named", help="Only concepts that have a name.")] = False,
    as_json: JsonForTable = False,
) -> None:
    """List concepts: universality, firing entropy, energy, firing share per backbone, name, factor it follows best.

    Universality is the smallest, over the backbones, of the share of a concept's fires at which all backbones fire.
    """
    with one_line_errors():
        from usae_viz.commands.early_checks import outline_and_labels

        outline_and_labels(settings.usae, settings.labels)
        from usae_train.model.checkpoint import load
        from usae_viz.concepts.followed import CHANCE_AUROC
        from usae_viz.concepts.labels import labels_of, names_and_notes
        from usae_viz.concepts.ranking import concept_rows

        model = load(settings.usae)
        names_by_concept = names_and_notes(labels_of(model, settings.labels))
        rows = concept_rows(model, settings.order, private=settings.private)
        total = len(rows)
        rows = [row for row in rows if row.concept in names_by_concept or not only_named]
        rows = rows[: settings.top or (None if as_json or only_named else DEFAULT_ROWS)]
        if as_json:
            say_json([{**row.as_dict(), **names_by_concept.get(row.concept, {})} for row in rows])
            return
        alone = "" if settings.private is None else f" that {settings.private} alone has,"
        say(f"{settings.usae}: {len(rows)} of {total} concepts{alone} by {settings.order}")
        say_table(_table_of(model, rows, names_by_concept))
        column_notes = f"; follows: patch AUROC, from {CHANCE_AUROC} on" if model.factors else ""
        column_notes += "; agreed: share of the trainings in which it was found" if model.agreement is not None else ""
        column_notes += "; private: the one backbone that has it" if model.private else ""
        say(f"below a backbone's name: share of the tokens in which the concept fires{column_notes}")


def _table_of(usae: USAE, rows: Sequence[ConceptRow], names_by_concept: Mapping[int, Mapping[str, str]]) -> Table:
    from usae_viz.concepts.followed import factor_followed

    agreed = () if usae.agreement is None else ("agreed",)
    owned = ("private",) if usae.private else ()
    last = "follows" if usae.factors else "name"
    table = figure_table(("concept", "universal", "entropy", "energy", *agreed, *owned, *usae.names, last), {last})
    for row in rows:
        label = factor_followed(usae, row.concept)
        followed = as_text("" if label is None else f"{label.value} ({label.auroc:.2f})")
        if row.concept in names_by_concept:
            name = as_text(names_by_concept[row.concept]["name"], "bold")
            followed = as_text("; ").join([name, followed]) if followed else name
        table.add_row(
            str(row.concept),
            f"{row.universality:.2f}",
            "" if row.entropy is None else f"{row.entropy:.2f}",
            f"{row.energy:.4f}",
            *([] if row.agreement is None else [f"{row.agreement:.0%}"]),
            *([as_text(row.private or "")] if owned else []),
            *(f"{share:.1%}" for share in row.firing_share),
            followed,
        )
    return table
