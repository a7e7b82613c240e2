"""What long work says where no bars are seen: in a log, a line now and then."""

import subprocess
import sys
from functools import partial

import pytest
from command_line import SMALL, SPECS, run

import usae_train.runtime.terminal
from usae_train.runtime.terminal import progress_lines


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "specs.yaml").write_text(SPECS)
    return ["demo:train", "--limit", 6, "--backbones", tmp_path / "specs.yaml"]


@pytest.fixture
def every_line(monkeypatch):
    """Lines as often as anything is told, for a test that does not wait for half a minute."""
    monkeypatch.setattr(usae_train.runtime.terminal, "progress_lines", partial(progress_lines, seconds=0))


def test_a_line_comes_when_its_time_has_come(capsys, monkeypatch):
    clock = iter([100.0, 129.0, 131.0, 131.0, 140.0, 161.0, 161.0])
    monkeypatch.setattr(usae_train.runtime.terminal.time, "monotonic", lambda: next(clock))
    report = progress_lines()
    for done in (3, 4, 5, 6):
        report("pictures", done, 11, "slow" if done == 6 else "")
    assert capsys.readouterr().err == "pictures: 4 of 11\npictures: 6 of 11, slow\n"


@pytest.mark.usefixtures("every_line")
def test_a_fit_says_how_far_it_is_and_how_well_it_goes(pictures, tmp_path):
    code, _, err = run("fit", *pictures, "-o", tmp_path / "usae", *SMALL)
    assert code == 0, err
    assert "pictures: 6 of 6\n" in err
    steps = [line for line in err.splitlines() if line.startswith("training: ")]
    assert [line.partition(",")[0] for line in steps] == [f"training: {step} of 3" for step in (1, 2, 3)]
    assert all("R² of own" in line and "dead vit " in line for line in steps)


@pytest.mark.usefixtures("every_line")
def test_independent_fits_say_which_they_are_at(pictures, tmp_path):
    code, _, err = run("fit", *pictures, "-o", tmp_path / "own", "--independent", *SMALL)
    assert code == 0, err
    assert "training vit: 3 of 3, loss " in err
    assert "training conv: 3 of 3, loss " in err


@pytest.mark.usefixtures("every_line")
def test_quiet_has_no_lines(pictures, tmp_path):
    code, out, err = run("fit", *pictures, "-o", tmp_path / "usae", "--quiet", *SMALL)
    assert (code, out, err) == (0, "", "")


def test_who_reads_no_further_ends_a_command_without_a_word():
    """As `usae-viz recipes | head -1` does."""
    program = (
        "from usae_train.runtime.terminal import one_line_errors\nwith one_line_errors():\n    raise BrokenPipeError"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")
