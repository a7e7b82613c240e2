"""Runs of recipes that cannot be drawn: who may write where, and what is left when it cannot be written."""

import errno
import json
import os
from pathlib import Path

import pytest
from running_recipes import QUICK, contents, drawn, run

from usae_viz.runs.manifest import claimed


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("another-usae", r"run was drawn with the USAE of sha256 "),
        ("in-use", "run is in use by another process; wait until it is done, or choose another place with --out"),
        ("link", "concept-00003 leads out of "),
    ],
)
def test_a_folder_that_cannot_be_gone_on_with(folder, tmp_path, prepare, message):
    text = f"concepts: [3]\n{QUICK}"
    out = tmp_path / "run"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    if prepare == "another-usae":
        drawn(folder, tmp_path, text)
        record = json.loads((out / "run.json").read_text())
        (out / "run.json").write_text(json.dumps({**record, "usae_sha256": "0" * 64}))
    elif prepare == "link":
        (out / "manifest").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (out / "concept-00003").symlink_to(tmp_path / "elsewhere")
    if prepare == "in-use":
        with claimed(out):
            done = run("render", recipe, "--out", out)
    else:
        done = run("render", recipe, "--out", out)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not list(tmp_path.glob("elsewhere/*"))


def test_pictures_that_are_compared_and_do_not_fit_together_leave_nothing(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    text = "objectives: [Concept(3), Concept(3) + Diversity()]\nsettings: {steps: 1, views: 1, size: 32, seeds: 40"
    recipe.write_text(f"usae: {folder}\n{text}, memory: 0.021}}\n")
    done = run("render", recipe, "--out", tmp_path / "run")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "80 pictures of one objective, 32 px, 40 of which are compared in a backbone: about " in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_comparison_with_no_picture_is_refused_before_anything_is_drawn(folder, tmp_path):
    """It was said when all before it was drawn, and by a dry run not at all."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\nobjectives: [Concept(5) + Closeness()]\n{QUICK}")
    for words in (["--dry-run"], []):
        done = run("render", recipe, "--out", tmp_path / "run", *words)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert "objective Concept(5) + Closeness() compares with a picture; give one as `start`" in done.stderr
        assert not (tmp_path / "run").exists()


def test_only_files_of_ours_are_cleaned_away(folder, tmp_path):
    others = [".download.part", "mine/deep/.left.png.1.part", "mine/.model.1.part/weights"]
    left = ["concept-00003/.left.png.17.part", ".run.json.17.part"]
    for file in (*others, *left):
        (tmp_path / "run" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / file).touch()
    out = drawn(folder, tmp_path, f"concepts: [3]\n{QUICK}")
    assert [file for file in (*others, *left) if (out / file).exists()] == others


def test_a_full_disk_is_one_line_and_what_is_finished_stays(folder, tmp_path, monkeypatch, drawings):
    text = f"concepts: [3, 5]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    really, saved = Path.write_bytes, []

    def full(self, content):
        if content.startswith(b"\x89PNG"):
            saved.append(self)
        if len(saved) > 4:  # two pictures and a sheet of the first concept, one picture of the second
            really(self, content[:4])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    recipe = tmp_path / "recipe.yaml"
    done = run("render", recipe, "--out", tmp_path / "run", "-q")
    monkeypatch.setattr(Path, "write_bytes", really)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr
    assert not list((tmp_path / "run").rglob(".*"))
    assert {file.name for file in (tmp_path / "run").glob("concept-00003/*")} == {
        "left.png",
        "right.png",
        "scores.json",
        "sheet.png",
    }
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert [objective for objective, _ in drawings] == ["Concept(5)"]
    assert contents(tmp_path / "run") == whole


def test_a_folder_where_no_lock_can_be_had_can_be_written_all_the_same(tmp_path, monkeypatch):
    """As on NFS without its lock daemon, where a run was refused."""

    def no_locks(*given):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with claimed(tmp_path / "run"):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert (tmp_path / "run" / "run.json").is_file()
