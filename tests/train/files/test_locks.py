"""One process at a time writes a folder."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SMALL, SPECS, assert_one_error, run

from usae_train.files.locks import folder_lock

HOLD = """
import sys
from pathlib import Path
from usae_train.files.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_another_process_writes_is_refused_until_it_ends(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "specs.yaml").write_text(SPECS)
    out = tmp_path / "room" / "out"
    backbones = ["--backbones", tmp_path / "specs.yaml", "-o", out, "--max-broken", "1"]
    grow = ["add-backbone", "demo", picture_folder, "--backbone", "resnet18", "-o", out]
    extract = ["extract", picture_folder, *backbones]
    fit = ["fit", picture_folder, *backbones, *SMALL]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for words in (fit, [*fit, "--resume"], [*fit, "--independent"], grow, extract):
            assert_one_error(run(*words), f"{out} is being written by another process; wait until it is done")
        other.kill()
    assert run(*fit)[0] == 0
    assert [place.name for place in out.parent.iterdir()] == ["out"]


def test_a_folder_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_error(run("fit", "demo", "-o", "."), "'.' does not name a folder; give one with --out")


def test_nothing_stays_beside_a_folder_that_was_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong"), folder_lock(tmp_path / "a" / "b" / "out"):
        raise ValueError("wrong")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.EROFS])
def test_where_no_lock_can_be_had_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    """A file system that knows none, or a parent folder in which nothing can be made."""

    def refused(*given: object) -> None:
        if reason not in (errno.EACCES, errno.EROFS) or ".out.lock" in str(given[0]):
            raise OSError(reason, os.strerror(reason))

    place = "os.open" if reason in (errno.EACCES, errno.EROFS) else "fcntl.flock"
    entered = False
    with monkeypatch.context() as patched:
        patched.setattr(place, refused)
        with folder_lock(tmp_path / "out"):
            entered = True
    assert entered
    assert not list(tmp_path.iterdir())
