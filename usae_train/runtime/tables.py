"""Tables and lines that show themselves: printed as text, in a notebook as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from usae_train.runtime.printing import as_text, escape_controls, table_as_text

SHOWN_ROWS = 60  # rows that are printed, as pandas does; all of them are in the table
TEXT_WIDTH = 120  # characters


@dataclass(frozen=True, repr=False)
class Table:
    """Columns by name, as a data frame has them; what is shown where pandas is not.

    Attributes:
        title: what stands over it.
        columns: their names.
        rows: a tuple of values each, None where there is none.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """A column's values, from the first row to the last.

        Raises:
            KeyError: for an unknown column.
        """
        if column not in self.columns:
            raise KeyError(f"no column {column!r}; expected one of {', '.join(self.columns)}")
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def __str__(self) -> str:
        from rich import box
        from rich.table import Table as RichTable

        table = RichTable(title=as_text(self.title), title_justify="left", box=box.SIMPLE_HEAD)
        for place, name in enumerate(self.columns):
            table.add_column(as_text(name), justify="right" if self._is_numbers(place) else "left")
        for row in self.rows[:SHOWN_ROWS]:
            table.add_row(*(as_text(cell_text(value)) for value in row))
        return table_as_text(table, TEXT_WIDTH).rstrip() + self._left_out()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """The table as HTML; what its cells say acts on no page."""
        head = "".join(f"<th>{text_of(name)}</th>" for name in self.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{text_of(cell_text(value))}</td>" for value in row) + "</tr>"
            for row in self.rows[:SHOWN_ROWS]
        )
        title = f'<caption style="caption-side: top; text-align: left">{text_of(self.title)}</caption>'
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{escape(self._left_out())}"

    def _left_out(self) -> str:
        return f"\n... and {len(self.rows) - SHOWN_ROWS} rows more" if len(self.rows) > SHOWN_ROWS else ""

    def _is_numbers(self, place: int) -> bool:
        return all(isinstance(row[place], int | float) for row in self.rows if row[place] is not None)


def matrix_table(title: str, matrix: Mapping[str, Mapping[str, float]]) -> Table:
    """{from: {to: figure}} as a table, a row for each `from`."""
    targets = list(dict.fromkeys(target for row in matrix.values() for target in row))
    rows = [(source, *(row.get(target) for target in targets)) for source, row in matrix.items()]
    return Table(title, ("from", *(f"to {target}" for target in targets)), rows)


def cell_text(value: Any) -> str:
    """A cell: numbers to three figures, nothing for None and NaN.

    Example:
        >>> cell_text(0.12345), cell_text(12), cell_text(None), cell_text("red")
        ('0.123', '12', '', 'red')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def text_of(value: str) -> str:
    """A text for a page: it is shown as it is, and is not a tag."""
    return escape(escape_controls(value))


def as_html(lines: Sequence[str], before: Sequence[str] = ()) -> str:
    """Lines one below the other, in a page's own font.

    Args:
        lines: their text.
        before: HTML that stands before each.
    """
    heads = before or [""] * len(lines)
    return "".join(f"<div>{head} {text_of(line)}</div>" for head, line in zip(heads, lines, strict=True))
