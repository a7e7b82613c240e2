"""A USAE in words and as a table of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usae_train.backbones.spec import MODULE
from usae_train.runtime.printing import plural
from usae_train.runtime.tables import Table, as_html

if TYPE_CHECKING:
    from usae_train.model.usae import USAE


def usae_lines(usae: USAE) -> list[str]:
    """A description of a USAE: size, backbones, origin, recipe, what it was measured on."""
    where = usae.source or "in memory only"
    active = usae.sparsity.in_words(usae.k)
    heads = f"USAE, {where}: {plural(usae.n_concepts, 'concept')} over {plural(len(usae.names), 'backbone')}, {active}"
    private = [f"  {usae.private.in_words()}"] if usae.private else []
    return [heads, *private, *("  " + "  ".join(filter(None, row)) for row in _backbone_rows(usae)), *_ending(usae)]


def usae_html(usae: USAE) -> str:
    """The same description, with the backbones as a table."""
    columns = ("backbone", "model", "read at", "width")
    return Table(usae_lines(usae)[0], columns, _backbone_rows(usae)).html() + as_html(_ending(usae))


def _backbone_rows(usae: USAE) -> list[tuple[str, ...]]:
    """Of each backbone: its name, model, layer and input size, width."""
    rows: list[tuple[str, ...]] = []
    for name, width in usae.widths.items():
        spec = usae.specs.get(name)
        if spec is None:
            rows.append((name, "bare activations", "", f"{width} wide"))
            continue
        size = "" if spec.input_size is None else f", {spec.input_size} px"
        rows.append((name, spec.model, f"{spec.place}{size}", f"{width} wide"))
    return rows


def _ending(usae: USAE) -> list[str]:
    """What is missing for drawing, the recipe, and the pictures of the statistics."""
    missing = [
        f"{name}: module not given, cannot be drawn; ut.load(..., modules={{{name!r}: ...}}) takes it"
        for name, spec in usae.specs.items()
        if spec.model.startswith(MODULE) and name not in usae.modules_given
    ]
    recipe = f"recipe: {usae.recipe or 'not known'}"
    if usae.statistics is None:
        return [*missing, recipe, "no statistics: ut.evaluate(usae, PICTURES).statistics measures them"]
    pictures = f", {usae.measured_on.name}" if usae.measured_on.name else ""
    return [*missing, recipe, f"statistics: {usae.statistics.in_words}{pictures}"]
