"""A place where a training runs or waits: what a second command is told."""

from pathlib import Path

import pytest
from command_line import assert_one_error, run

from usae_train.commands.early_checks import check_training
from usae_train.files.locks import folder_lock


def test_a_running_training_is_not_called_a_stopped_one(tmp_path: Path):
    out = tmp_path / "mine"
    with folder_lock(out):
        (tmp_path / ".mine.training").mkdir()
        with pytest.raises(ValueError, match="mine is being written by another process; wait until it is done"):
            check_training(out, resume=False)
    with pytest.raises(ValueError, match=r"a training that was stopped lies in .*; give --resume to continue it"):
        check_training(out, resume=False)
    check_training(out, resume=False, from_starts=True)  # which has states of its own, and goes on by itself
    assert [each.name for each in tmp_path.iterdir()] == [".mine.training"]


def test_names_of_before_are_not_proposed():
    code, _, said = run("extract", "demo", "--out", "new", "--worker", "2")
    assert code == 2
    assert "no such option: --worker" in said
    assert "--workers" not in said


def test_a_store_that_is_named_by_its_home_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text('{"complete": true}')
    assert_one_error(run("extract", "demo", "--backbones", "demo", "--out", tmp_path / "store"), "is a finished store")
    assert_one_error(run("fit", "~/store", "--out", tmp_path / "new"), "store.json")
