"""What is printed acts on no terminal, and one place prints."""

import ast
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import usae_train
import usae_viz
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import as_text, escape_controls, say, say_error, say_json, say_table, table_as_text
from usae_train.runtime.terminal import bars, one_line_errors, progress_lines, stages
from usae_train.training.logging.display import TrainingDisplay

CLEAR = "a\x1b[2Jb\r\nerror: c\u202ed\x9be\udcff"  # clears a screen, forges a line, turns the writing round
SHOWN = r"a\x1b[2Jb\r\nerror: c\u202ed\x9be\udcff"
PACKAGES = [Path(package.__file__).parent for package in (usae_train, usae_viz)]
PRINTERS = {"print", "echo", "secho", "Console", "print_exc"}


def test_what_a_terminal_obeys_is_written_out_and_text_is_left_alone():
    assert escape_controls(CLEAR) == SHOWN
    text = "R², naïve façade, Ελληνικά, עברית, 日本語, می\u200cخواهم, 👩\u200d🔬, C:\\new [red]"
    assert escape_controls(text) == text
    assert [escape_controls(sign) for sign in "\t\x00\x7f\u2028\u200b\ufeff"] == [
        "\\t",
        "\\x00",
        "\\x7f",
        "\\u2028",
        "\\u200b",
        "\\ufeff",
    ]


def test_a_line_stays_one(capsys):
    say(CLEAR, "[red]second")
    say(CLEAR, err=True)
    out, err = capsys.readouterr()
    assert (out, err) == (f"{SHOWN}\n[red]second\n", f"{SHOWN}\n")


def test_what_an_encoding_lacks_is_written_out(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("R² 0.5")
    assert stream.buffer.getvalue() == b"R\\xb2 0.5\n"


def test_json_is_of_ascii_and_says_the_same(capsys):
    say_json({"name": CLEAR + "\x7f"})
    out = capsys.readouterr().out
    assert all(sign == "\n" or " " <= sign <= "~" for sign in out)
    assert json.loads(out) == {"name": CLEAR + "\x7f"}


def test_an_error_is_one_line(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise UsageError("broken\nerror: \x1b[1mforged")
    say_error(ValueError())
    assert capsys.readouterr().err == "error: broken error: \\x1b[1mforged\nerror: ValueError\n"


def test_a_table_shows_markup_and_controls_as_they_are(capsys):
    table = Table(title=as_text("[/nothing] open"))
    table.add_column(as_text(f"[bold]{CLEAR}"))
    table.add_row(as_text("[red]label[/red]"))
    say_table(table)
    out = capsys.readouterr().out
    assert table_as_text(table, 120).split() == out.split()
    assert all(part in out for part in (f"[bold]{SHOWN}", "[/nothing] open", "[red]label[/red]"))
    assert "\x1b[2J" not in out


def test_bars_and_lines_show_stages_and_notes_as_they_are(capsys, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **rest: Console(file=told, force_terminal=True, width=200))
    with bars(TrainingDisplay, quiet=False) as progress:
        stages(progress)(f"[/x]{CLEAR}", 1, 2, "[red]\x1b[2J")
        progress.metrics = {
            "r2": {"[/]": {"[/]": 0.5}},
            "loss": 1.0,
            "dead": {"[/]\x1b[2J": 0.5},
            "learning_rate": 1.0,
            "tokens_per_second": 1,
            "gb_read": 1.0,
        }
    progress_lines(seconds=0)(CLEAR, 1, 2, "note\n")
    shown = told.getvalue()
    assert all(part in shown for part in (f"[/x]{SHOWN}", r"[red]\x1b[2J", r"dead [/]\x1b[2J 50.0%", "to [/]"))
    assert "\x1b[2J" not in shown.replace("\x1b[2K", "")
    assert capsys.readouterr().err == f"{SHOWN}: 1 of 2, note\\n\n"


def calls(file):
    """The names of the functions that a module calls."""
    called = (node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    return {getattr(func, "id", getattr(func, "attr", "")) for func in called}


def test_no_other_module_prints():
    """What is printed elsewhere is printed as it came; `runtime.printing` has what there is to print with."""
    found = {file: PRINTERS & calls(file) for package in PACKAGES for file in package.rglob("*.py")}
    assert {file.name: names for file, names in found.items() if names} == {
        "printing.py": {"print", "Console"},
        "terminal.py": {"Console"},  # for bars
    }
