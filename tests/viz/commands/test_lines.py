"""Drawing off a terminal: a line now and then says how far it is."""

from functools import partial

import pytest
from running_recipes import QUICK, run

import usae_train.runtime.terminal
from usae_train.runtime.terminal import progress_lines


@pytest.fixture(autouse=True)
def every_line(monkeypatch):
    """Lines as often as anything is told, for a test that does not wait for half a minute."""
    monkeypatch.setattr(usae_train.runtime.terminal, "progress_lines", partial(progress_lines, seconds=0))


def test_maximize_says_how_far_it_is(folder, tmp_path):
    words = ["maximize", "-c", "3", "--usae", folder, "--steps", "2", "--views", "1", "--size", "32"]
    done = run(*words, "-o", tmp_path / "run", "--json", "--workers", "1")
    assert done.exit_code == 0, done.stderr
    first, last = done.stderr.splitlines()
    assert first.startswith("Concept(3) per-model seed 0: 1 of 2, left ")
    assert last.startswith("Concept(3) per-model seed 0: 2 of 2, left ")
    quiet = run(*words, "-o", tmp_path / "again", "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_render_says_at_what_it_is(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3, 5]\nmodes: [shared]\n{QUICK}")
    done = run("render", recipe, "-o", tmp_path / "run", "--workers", "1")
    assert done.exit_code == 0, done.stderr
    stages = [line.partition(",")[0] for line in done.stderr.splitlines()]
    assert stages == [f"Concept({k}) shared seed 0: {step} of 2" for k in (3, 5) for step in (1, 2)]
