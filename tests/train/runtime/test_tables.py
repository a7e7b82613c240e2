"""Tables that show themselves."""

import pytest

from usae_train.runtime.tables import SHOWN_ROWS, Table, matrix_table

TABLE = Table("concepts of <b>", ("concept", "name", "energy"), [(3, "<i>", 0.12345), (7, None, float("nan"))])


def test_a_table_is_asked_by_column_and_by_row():
    assert len(TABLE) == 2
    assert TABLE["energy"][0] == 0.12345
    assert next(iter(TABLE)) == {"concept": 3, "name": "<i>", "energy": 0.12345}
    with pytest.raises(KeyError, match="no column 'enrgy'; expected one of concept, name, energy"):
        TABLE["enrgy"]


def test_colours_are_asked_for_in_vain(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in repr(TABLE)


def test_it_is_printed_with_three_figures_and_nothing_for_what_is_not_known():
    lines = [line.rstrip() for line in repr(TABLE).splitlines()]
    assert lines[0] == "concepts of <b>"
    assert [line.split() for line in lines[-2:]] == [["3", "<i>", "0.123"], ["7"]]


def test_what_cells_say_is_no_tag():
    page = TABLE._repr_html_()
    assert "<td>3</td><td>&lt;i&gt;</td><td>0.123</td>" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 3


def test_of_a_long_one_the_rest_is_counted():
    table = Table("long", ("n",), [(n,) for n in range(SHOWN_ROWS + 5)])
    assert table.html().count("<td>") == SHOWN_ROWS
    assert str(table).endswith("... and 5 rows more")
    assert table["n"][-1] == SHOWN_ROWS + 4


def test_a_matrix_has_a_row_for_what_it_is_from():
    table = matrix_table("R²", {"a": {"a": 1.0, "b": 0.5}, "b": {"b": 0.25}})
    assert table.columns == ("from", "to a", "to b")
    assert table.rows == [("a", 1.0, 0.5), ("b", None, 0.25)]
