"""The script for a day with a GPU runs, on the CPU and at a tiny size, so that it does not rot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import gpu_measures
import pytest
import torch


def test_the_script_for_a_gpu_runs_on_the_cpu(tmp_path):
    """As a command: a profiler and a compiler leave their threads and gigabytes to the process that they ran in."""
    words = ["--tiny", "--device", "cpu", "--json", tmp_path / "figures.json"]
    root = Path(gpu.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, gpu.__file__, *words],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said, report = done.stdout, json.loads((tmp_path / "figures.json").read_text())
    assert "no GPU is used" in said
    assert "FAILED" not in said
    assert len(report["checks"]) == 11
    assert report["measures"]["tokens/s, default"] > 0
    assert report["measures"]["ms of a loss, published, compiled"] > 0
    assert report["measures"]["extraction, share of the bare networks"] > 0
    for what in ("default training", "published training", "drawing", "extraction"):
        assert len(report["measures"][f"largest entries of {what}"]) == 5
    assert report["measures"]["ms of views and a backbone, compiled"] > 0
    assert report["measures"]["estimate of it, GB"] > 0
    assert "(aim 1,000,000)" in said


def test_a_check_that_fails_is_said_and_is_the_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "checks", lambda device: {"views": (0.5, 1e-4), "tokens": (float("nan"), 1e-3)})
    monkeypatch.setattr(gpu, "measures", lambda size, device, until: {})
    assert gpu.main(["--tiny", "--device", "cpu"]) == 1
    assert capsys.readouterr().out.count("FAILED") == 2


def test_how_far_apart_is_a_share_of_the_largest():
    assert gpu.apart(torch.tensor([1.0, 8.0]), torch.tensor([2.0, 10.0])) == pytest.approx(0.2)


def test_what_there_is_no_time_for_is_left_out_and_said():
    found = gpu_measures.measures(gpu_measures.TINY, "cpu", until=-1.0)
    assert len(found) == 9
    assert all(figure is None and "left out: no time" in what for what, figure in found.items())
