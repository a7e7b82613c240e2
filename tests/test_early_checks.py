"""A mistake that text and small files show is answered before torch is loaded, which takes seconds."""

import json
import subprocess
import sys

import pytest
from mistakes import MISTAKES, words_of, write_files

from usae_train.commands.early_checks import check_training
from usae_train.files.locks import folder_lock

ALL = """
import contextlib, io, json, sys
from usae_train.cli import app as train
from usae_viz.cli import app as viz

for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            (viz if words[1] == "usae_viz" else train)(words[2:])
        except SystemExit as left:
            status = left.code
    print(json.dumps([status, said.getvalue(), "torch" in sys.modules]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """{what was typed: exit status, what was said, whether torch was loaded by then}: all in one process."""
    folder = tmp_path_factory.mktemp("typed")
    write_files(folder)
    typed = json.dumps([words_of(each) for each, _, _ in MISTAKES])
    done = subprocess.run([sys.executable, "-c", ALL, typed], cwd=folder, capture_output=True, text=True, check=True)
    assert sorted(each.name for each in folder.iterdir()) == [
        *("broken.json", "code.yaml", "concept.yaml", "full", "key.yaml", "objective.yaml", "picture.png"),
    ]
    return dict(zip((each for each, _, _ in MISTAKES), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("typed", "word", "status"), MISTAKES, ids=[each for each, _, _ in MISTAKES])
def test_it_is_answered_in_one_line_without_torch(answers, typed, word, status):
    code, said, loaded = answers[typed]
    assert word in said
    assert said.count("\n") == 1
    assert (code, loaded) == (status, False)


def test_a_training_that_runs_is_not_called_one_that_was_stopped(tmp_path):
    room = tmp_path / ".new.training"
    room.mkdir()
    with folder_lock(tmp_path / "new"), pytest.raises(ValueError, match="is being written by another process"):
        check_training(tmp_path / "new", resume=False)
    with pytest.raises(ValueError, match="a training that was stopped lies in"):
        check_training(tmp_path / "new", resume=False)
    check_training(tmp_path / "new", resume=True)
    assert list(tmp_path.iterdir()) == [room]
