"""An option that would do nothing beside another is wrong usage: one line names both, and nothing is written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli

TRAIN, VIZ = usae_train.cli.app, usae_viz.cli.app
QUICK = ["--steps", "1", "--views", "1", "--size", "32", "-q", "--out", "out"]


@pytest.mark.parametrize(
    ("app", "words", "said"),
    [
        (
            TRAIN,
            ["extract", "demo", "--out", "out", "--verify-checksums", "--limit", "3"],
            "--limit would do nothing beside --verify-checksums",
        ),
        (
            TRAIN,
            ["extract", "demo", "--out", "out", "--verify-checksums", "--backbones", "demo", "--device", "cpu"],
            "--device, --backbones would do nothing beside --verify-checksums",
        ),
        (
            TRAIN,
            ["extract", "demo", "--out", "out", "--verify-checksums", "--dtype", "float16"],
            "--storage-dtype would do nothing",
        ),
        (
            TRAIN,
            ["fit", "demo", "--out", "out", "--independent", "--resume"],
            "the same command resumes --independent",
        ),
        (TRAIN, ["fit", "demo", "--out", "out", "--starts", "2", "--resume"], "the same command resumes --starts"),
        (TRAIN, ["fit", "a=none.npy", "--out", "out", "--max-broken", "1"], "--max-broken would do nothing"),
        (
            TRAIN,
            [
                "consensus",
                "demo",
                "demo",
                "--images",
                "a=none.npy",
                "--out",
                "out",
                "--limit",
                "9",
                "--dtype",
                "float32",
            ],
            "--dtype, --limit would do nothing",
        ),
        (VIZ, ["render", "first-look", "--schema"], "RECIPE would do nothing beside --schema"),
        (VIZ, ["render", "--schema", "--out", "out"], "--out would do nothing beside --schema"),
        (VIZ, ["maximize", "-c", "3", "--animation", "gif", *QUICK], "--animation needs snapshots"),
        (VIZ, ["invert", "none.png", "--animation", "mp4", *QUICK], "--animation needs snapshots"),
        (VIZ, ["explore", "demo", "--patches", "0", "--images", "pictures"], "which --patches 0 leaves out"),
        (VIZ, ["explore", "demo", "--pictures-only", "--patches", "3"], "which --pictures-only leaves out"),
    ],
)
def test_what_would_do_nothing_is_told(app, words, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words, env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explore", "demo", "--pictures-only"], "demo is a USAE, which --pictures-only does without"),
        (
            ["maximize", "-c", "3", "--spectrum", "1/f", *QUICK],
            "a spectrum is for the parameterization maco, not for fourier",
        ),
        (
            ["maximize", "-c", "3", "--parameterization", "pixel", "--decay", "1", *QUICK],
            "decay is for the parameterization fourier, not for pixel",
        ),
        (
            ["maximize", "-c", "3", "--parameterization", "maco", "--contrast", "1", *QUICK],
            "contrast is for the parameterization fourier, not for maco",
        ),
    ],
)
def test_what_would_be_left_unseen_is_told(words, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(VIZ, words)
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_finished_store_is_verified_without_other_options(tmp_path) -> None:
    done = CliRunner().invoke(
        TRAIN, ["extract", "demo", "--out", str(Path(tmp_path) / "none"), "--verify-checksums", "-q"]
    )
    assert done.exit_code == 1
    assert "none" in done.stderr
