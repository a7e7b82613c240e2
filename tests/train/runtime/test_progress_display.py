"""Bars and closing lines of work that is called from Python."""

import sys
from types import SimpleNamespace

import pytest

from usae_train.runtime.progress_display import notebook_display, progress_display


class Cell:
    """A notebook's cell: what is displayed, and how often that was replaced."""

    def __init__(self):
        self.outputs, self.updates = [], 0

    def display(self, content, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append(content)
        return self

    def update(self, content, raw):
        assert raw
        self.outputs[-1], self.updates = content, self.updates + 1


@pytest.fixture
def cell(monkeypatch):
    """The process is a notebook's kernel."""
    cell = Cell()
    monkeypatch.setattr("usae_train.runtime.progress_display.notebook_display", lambda: cell.display)
    return cell


def work(progress, stages=("pictures", "training")):
    for stage in stages:
        for done in (1, 2):
            progress.report(stage, done, 2, "loss <0.5>")
    progress.close(lambda: ["R² 0.7", "see <FOLDER>"])


def test_elsewhere_the_closing_lines_go_to_stderr(capsys):
    with progress_display() as progress:
        work(progress)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "R² 0.7\nsee <FOLDER>\n"


def test_quiet_work_shows_and_makes_nothing(capsys, cell):
    with progress_display(quiet=True) as progress:
        progress.report("pictures", 1, 2, "")
        progress.close(lambda: pytest.fail("made for nobody"))
    assert (capsys.readouterr().err, cell.outputs) == ("", [])


def test_in_a_notebook_one_output_has_the_bars_and_then_the_lines(cell, capsys):
    with progress_display() as progress:
        work(progress)
        (bars,) = cell.outputs
        assert bars["text/plain"] == "pictures: 2 of 2, loss <0.5>\ntraining: 2 of 2, loss <0.5>"
        assert bars["text/html"].count('<progress value="2" max="2">') == 2
        assert "loss &lt;0.5&gt;" in bars["text/html"]
    (lines,) = cell.outputs
    assert lines["text/plain"] == "R² 0.7\nsee <FOLDER>"
    assert "<progress" not in lines["text/html"]
    assert "see &lt;FOLDER&gt;" in lines["text/html"]
    assert capsys.readouterr().err == ""


def test_bars_are_not_sent_at_every_step(cell, monkeypatch):
    monkeypatch.setattr("usae_train.runtime.progress_display.time.monotonic", lambda: 5.0)
    with progress_display() as progress:
        for done in range(1, 101):
            progress.report("steps", done, 100, "")
        assert (len(cell.outputs), cell.updates) == (1, 1)  # the first, and the last


def test_work_that_raises_has_no_closing_lines(cell, capsys):
    def broken():
        with progress_display() as progress:
            work(progress)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert "<progress" in cell.outputs[0]["text/html"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("shell", "is_one"), [(None, False), (SimpleNamespace(), False)])
def test_a_terminal_is_no_notebook(monkeypatch, shell, is_one):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert (notebook_display() is not None) == is_one


def test_a_kernel_is_one(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display="display"))
    assert notebook_display() == "display"
