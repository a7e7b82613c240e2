"""`usae-train fit --independent` and `usae-train evaluate` from the shell, and the page in a browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run

import usae_train as ut
from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.files.provenance import file_hash
from usae_train.images.source_record import SourceRecord
from usae_train.model.statistics import read_origin
from usae_train.training.independent_fit import Executions, fit_independent
from usae_train.training.resolving import fit_settings
from usae_train.training.settings import ExecutionSettings

SPECS = """
left: {model: vit_tiny_patch16_224, weights: random, input_size: 96, seed: 0, options: {patch_size: 24, embed_dim: 16, depth: 1, num_heads: 2}}
right: {model: vit_tiny_patch16_224, weights: random, input_size: 96, seed: 1, options: {patch_size: 24, embed_dim: 16, depth: 1, num_heads: 2}}
"""  # noqa: E501
SIZES = ["--n-concepts", "24", "-k", "6", "--steps", "60", "--batch", "256", "--limit", "40", "--device", "cpu"]
SECTIONS = ("r2", "entropy", "co-fires", "independent", "posthoc", "stability", "none", "truth", "concepts")
PLOTS = 5  # R², entropy, co-fires, consistency, R² aligned afterwards


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A toy USAE `usae`, another seed `second`, its independent SAEs `own`, and a `report` with all of it."""
    place = tmp_path_factory.mktemp("evaluated")
    (place / "specs.yaml").write_text(SPECS)
    fit = ["fit", "demo:train", "--backbones", place / "specs.yaml", *SIZES]
    for words in (
        ["--out", place / "usae"],
        ["--out", place / "second", "--seed", 1],
        ["--out", place / "own", "--independent"],
    ):
        code, _, said = run(*fit, *words)
        assert code == 0, said
    code, said, warned = run(
        "evaluate",
        place / "usae",
        "demo:test",
        "--limit",
        40,
        "--out",
        place / "report",
        "--independent",
        place / "own",
        "--other-seed",
        place / "second",
    )
    assert code == 0, warned
    assert "independent SAEs aligned afterwards" in said
    assert said.splitlines()[0].endswith("; statistics filled in")
    assert said.splitlines()[1].startswith("a dense linear map from one backbone's tokens to another's: R² ")
    assert "40 pictures are too few for these quantiles, which are left out: 99% (needs 100), 99.9% (n" in warned
    return place


@pytest.fixture(scope="module")
def report(place: Path) -> dict:
    return json.loads((place / "report" / "report.json").read_text())


def test_independent_saes_are_one_a_backbone_on_the_common_grid(place: Path) -> None:
    own = {name: ut.load(place / "own" / name) for name in ("left", "right")}
    assert [usae.names for usae in own.values()] == [["left"], ["right"]]
    assert {usae.grid for usae in own.values()} == {ut.load(place / "usae").grid}
    assert {(usae.n_concepts, usae.k) for usae in own.values()} == {(24, 6)}


def test_independent_saes_of_a_store(place: Path, tmp_path: Path) -> None:
    for words in (
        ["extract", "demo:train", "--backbones", place / "specs.yaml", "--limit", 40],
        ["fit", tmp_path / "store", *SIZES[:-4], "--independent"],
    ):
        code, _, said = run(*words, "--out", tmp_path / ("store" if words[0] == "extract" else "own"))
        assert code == 0, said
    assert {name: ut.load(tmp_path / "own" / name).names for name in ("left", "right")} == {
        "left": ["left"],
        "right": ["right"],
    }


def test_dtype_and_seed_are_in_the_report_and_change_what_they_are_for(
    place: Path, report: dict, tmp_path: Path
) -> None:
    words = ["evaluate", place / "usae", "demo:test", "--limit", 40, "--no-fill", "--independent-saes", place / "own"]
    code, _, said = run(*words, "--out", tmp_path / "report", "--dtype", "bfloat16", "--seed", 1)
    assert code == 0, said
    other = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [(each["settings"]["dtype"], each["settings"]["seed"]) for each in (report, other)] == [
        ("float32", 0),
        ("bfloat16", 1),
    ]
    assert 0 < abs(other["r2"]["left"]["right"] - report["r2"]["left"]["right"]) < 0.02
    seen = [each["independent"]["consistency"]["left"] for each in (report, other)]
    assert seen[0]["cosines"] == seen[1]["cosines"]
    assert seen[0]["baseline"]["cosines"] != seen[1]["baseline"]["cosines"]
    code, _, said = run(*words, "--out", tmp_path / "bad", "--dtype", "half")
    assert (code, said) == (2, "error: dtype = 'half': expected 'auto', 'float32' or 'bfloat16'\n")


def test_a_fit_runs_its_backbones_in_the_dtype_it_is_told(place: Path, tmp_path: Path) -> None:
    fit = ["fit", "demo:train", "--backbones", place / "specs.yaml", *SIZES]
    assert run(*fit, "--out", tmp_path / "half", "--dtype", "bfloat16")[0] == 0
    half, whole = ut.load(tmp_path / "half"), ut.load(place / "usae")
    assert not torch.equal(half.scale("left").mean, whole.scale("left").mean)
    code, _, said = run(*fit, "--out", tmp_path / "bad", "--dtype", "half")
    assert (code, said) == (2, "error: dtype = 'half': expected 'auto', 'float32' or 'bfloat16'\n")


def test_independent_fits_are_no_work_for_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, said = run("fit", "demo:train", "--backbones", "demo", *SIZES, "--out", tmp_path / "own", "--independent")
    assert (code, said) == (1, "error: --independent trains in one process; start it without torchrun\n")
    assert not (tmp_path / "own").exists()


def fit_own(place: Path, out: Path, report: Any = lambda *_: None, **execution: Any) -> dict[str, ut.USAE]:
    settings = fit_settings("default", n_concepts=8, k=2, steps=6, batch=32, seed=0, mask_outliers=True)
    own = Executions(settings=ExecutionSettings(limit=6, **execution), report=report)
    fit_independent("demo:train", out, str(place / "specs.yaml"), settings, own)
    return {name: ut.load(out / name) for name in ("left", "right")}


def test_an_independent_fit_that_was_killed_goes_on_to_the_same_end(place: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    seen: list[tuple[str, int]] = []

    def note(stage: str, done: int, total: int, said: str) -> None:  # noqa: ARG001
        seen.append((stage, done))
        if seen.count(("training right", 4)) == 1 and seen[-1] == ("training right", 4):
            raise Killed

    whole = fit_own(place, tmp_path / "whole")
    with pytest.raises(Killed):
        fit_own(place, tmp_path / "own", checkpoint_minutes=0, report=note)
    assert (tmp_path / "own" / "left" / "metrics.jsonl").is_file()
    assert (tmp_path / "own" / ".right.training" / "step-000000003.pt").is_file()
    seen.append(("training right", 4))  # once is enough
    first = len(seen)
    own = fit_own(place, tmp_path / "own", checkpoint_minutes=0, report=note)
    assert not [stage for stage, _ in seen[first:] if stage.endswith("left")]
    assert [step for stage, step in seen[first:] if stage == "training right"] == [4, 5, 6]
    for name, usae in own.items():
        assert usae.outliers[name].masked
        expected = whole[name].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in usae.state_dict().items())
    steps = [json.loads(line)["step"] for line in (tmp_path / "own" / "right" / "metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert sorted(file.name for file in (tmp_path / "own").iterdir()) == ["independent.json", "left", "right"]


def test_an_independent_fit_streams_what_does_not_fit_into_the_memory_allowed(place: Path, tmp_path: Path) -> None:
    windows = []

    def note(stage: str, done: int, total: int, said: str) -> None:  # noqa: ARG001
        if stage == "pictures left":
            windows.append(total)

    fit_own(place, tmp_path / "own", memory=1100e-9, report=note)  # a picture's 16 tokens of 16 numbers are 512 bytes
    assert set(windows) == {2}


def test_independent_fits_have_no_tracker(place: Path, tmp_path: Path) -> None:
    words = ["fit", "demo:train", "--backbones", place / "specs.yaml", "--out", tmp_path / "own", "--independent"]
    code, _, said = run(*words, "--wandb", "mine")
    assert code == 2
    assert "each writes metrics.jsonl, and has no tracker" in " ".join(said.replace("│", " ").split())
    assert not (tmp_path / "own").exists()


def test_the_report_compares(report: dict) -> None:
    assert report["settings"]["independent"].keys() == {"left", "right"}
    assert set(report["independent"]["cost"]) == {"left", "right"}
    assert len(report["independent"]["consistency"]["left"]["cosines"]) == 24
    assert report["posthoc"]["r2_summary"]["off_diagonal"] < report["posthoc"]["r2_summary"]["diagonal"]
    assert 0 < report["stability"]["mean"] < 1
    assert report["quantiles_missing"] == [0.99, 0.999]
    assert report["reference"] is None  # these are not the paper's backbones
    assert len(report["concepts"]["fires"]["left"]) == 24


def test_the_usae_folder_has_the_statistics_of_these_pictures(place: Path) -> None:
    usae = ut.load(place / "usae")
    assert usae.statistics is not None
    assert usae.statistics.counts.tolist() == [40, 40 * 16]
    assert usae.measured_on == SourceRecord("demo:test", 40, "demo-test-40")
    assert usae.factors[0] == "colour: red"
    assert usae.statistics.auroc is not None
    assert usae.statistics.quantiles.isnan().any(0).any(0).tolist() == [False, False, True, True, False]
    origin = read_origin(place / "usae" / "statistics.safetensors")
    assert origin["usae_sha256"] == file_hash(place / "usae" / "model.safetensors")
    assert not list(place.glob(".*.evaluation"))


def test_statistics_of_fewer_pictures_do_not_replace_better_ones(place: Path, tmp_path: Path) -> None:
    before = file_hash(place / "usae" / "statistics.safetensors")
    code, said, warned = run("evaluate", place / "usae", "demo:test", "--limit", 3, "--out", tmp_path / "small")
    assert code == 0, warned
    assert "filled in" not in said
    assert file_hash(place / "usae" / "statistics.safetensors") == before


def test_json_is_the_report_and_nothing_else(place: Path, tmp_path: Path) -> None:
    words = ["evaluate", place / "usae", "demo:test", "--limit", 3, "--json"]
    code, said, warned = run(*words, "--out", tmp_path / "report")
    assert code == 0, warned
    assert said == (tmp_path / "report" / "report.json").read_text()
    assert json.loads(said)["n_images"] == 3
    assert "warning: 3 pictures are too few" in warned
    assert run(*words, "--quiet", "--out", tmp_path / "again")[1:] == (said, "")
    assert run(*words[:-1], "--quiet", "--out", tmp_path / "third") == (0, "", "")


def test_statistics_of_another_usae_are_refused(place: Path, tmp_path: Path) -> None:
    mixed = shutil.copytree(place / "usae", tmp_path / "mixed")
    shutil.copy(place / "second" / "statistics.safetensors", mixed)
    code, _, said = run("evaluate", mixed, "demo:test", "--limit", 3, "--out", tmp_path / "report")
    assert code == 1
    assert "statistics.safetensors belongs to another USAE (weights " in said
    assert said.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_page_of_something_else_is_not_overwritten(place: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("an explorer's")
    code, _, said = run("evaluate", place / "usae", "demo:test", "--limit", 4, "--out", tmp_path)
    assert (code, said) == (1, f"error: {tmp_path / 'index.html'} is another page; choose another folder\n")
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_a_seed_given_twice_is_refused(place: Path, tmp_path: Path) -> None:
    """It would be its own like, and lift the mean."""
    twice = ["--other-seed", place / "second", "--other-seed", shutil.copytree(place / "second", tmp_path / "copy")]
    code, _, said = run("evaluate", place / "usae", "demo:test", "--limit", 3, "--out", tmp_path / "report", *twice)
    assert code == 1
    assert said == f"error: {tmp_path / 'copy'} is the same USAE as {place / 'second'}; expected one of another seed\n"


def test_an_independent_sae_of_another_backbone_is_refused(place: Path, tmp_path: Path) -> None:
    """Of the same width and grid: only its spec tells."""
    mixed = shutil.copytree(place / "own", tmp_path / "mixed")
    config = json.loads((mixed / "right" / "config.json").read_text())
    config["backbones"]["right"]["seed"] = 7
    (mixed / "right" / "config.json").write_text(json.dumps(config))
    code, _, said = run(
        "evaluate", place / "usae", "demo:test", "--limit", 3, "--out", tmp_path / "report", "--independent-saes", mixed
    )
    assert code == 1
    assert "sees another backbone than the right of" in said
    assert said.endswith(": it differs in seed; fit it with the same specs\n")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--other-seed", "usae"], "is the same USAE as"),
        (["--independent-saes", "report"], "report has no left; expected a folder for each of left, right"),
        (["--other-seed", "own/left"], "is over {'left': 16}; expected {'left': 16, 'right': 16}"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words: list[str], answer: str, place: Path, tmp_path: Path) -> None:
    option, folder = words
    code, _, said = run(
        "evaluate", place / "usae", "demo:test", "--limit", 3, "--out", tmp_path / "report", option, place / folder
    )
    assert code == 1
    assert answer in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rank", "told"), [(0, "stopped; run the same command again to resume\n"), (1, "")])
def test_of_processes_that_are_stopped_the_first_alone_says_so(
    rank: int, told: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(pass_state: object, stream: object, n_images: int, checkpointer: PassCheckpointer, *_: object) -> bool:  # noqa: ARG001
        checkpointer.stop(signal.SIGINT)
        checkpointer.check()
        raise AssertionError("it was not stopped")

    monkeypatch.setattr("usae_train.evaluation.evaluate.run_pass", stopped)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    words = ["evaluate", place / "usae", "demo:test", "--limit", 3, "--out", tmp_path / "report", "--device", "cpu"]
    assert run(*words) == (130, "", told)


@pytest.mark.slow
def test_ctrl_c_stops_and_the_same_command_goes_on(place: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-c",
        "from usae_train.cli import main; main()",
        "evaluate",
        str(place / "usae"),
        "demo:test",
        "--limit",
        "40",
        "--image-batch",
        "1",
        "--checkpoint-minutes",
        "0",
        "--no-fill",
        "--out",
        str(tmp_path / "report"),
    ]
    state = tmp_path / ".report.evaluation" / "state-0.pt"
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not state.is_file() and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 130, said
    assert said == "stopped; run the same command again to resume\n"
    assert not (tmp_path / "report" / "report.json").exists()
    kept = torch.load(state, weights_only=True)
    code, _, said = run(*words[3:])
    assert code == 0, said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["n_images"] == 40
    assert kept["done"] < 40
    assert not state.exists()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_page_opens_from_disk_without_a_network(place: Path, chromium: Any, width: int, scheme: str) -> None:
    wrong: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))
    page.goto((place / "report" / "index.html").resolve().as_uri())
    assert [page.locator(f"section#{name} h2").first.is_visible() for name in SECTIONS] == [True] * len(SECTIONS)
    plots = page.locator("figure > svg")
    assert plots.count() == PLOTS
    boxes = [plots.nth(number).bounding_box() for number in range(PLOTS)]
    assert all(box and box["width"] > 150 and box["height"] > 80 for box in boxes)
    # nothing sticks out: what is wide scrolls in a box of its own
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("#concepts table")
    assert not table.is_visible()
    page.locator("#concepts summary").click()
    table.wait_for(state="visible")
    assert table.locator("tr").count() == 1 + 24
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    context.close()
    assert wrong == []
