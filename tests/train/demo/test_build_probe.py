import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import demo_probe as probe
import pytest
import torch
from safetensors.torch import save_file

from usae_train.backbones.backbone import BackboneSpec
from usae_train.backbones.timm_models import create_model
from usae_train.demo import build, pretrain_all
from usae_train.evaluation.ground_truth.truth import factor_truth
from usae_train.images.sources import DemoImages
from usae_train.model.checkpoint import load
from usae_train.model.statistics import auroc
from usae_train.scenes.factors import FACTOR_VALUES, FACTORS, SHAPES
from usae_train.tokens.paired import PairedTokens, TokenSource, collect_tokens
from usae_train.training.settings import FitSettings

SMALL = FitSettings(n_concepts=12, k=3, steps=5, batch=64)


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "TRAINING_SCENES", 12)
    monkeypatch.setattr(build, "HELD_OUT_SCENES", 8)
    monkeypatch.setattr(build, "SETTINGS", SMALL)


def test_truth_is_what_covers_more_than_half_of_a_patch() -> None:
    source, numbers, grid = DemoImages(4), torch.tensor([0, 3]), (4, 4)
    truth = factor_truth(source, numbers, grid)
    assert truth.shape == (2 * 16, len(FACTOR_VALUES))
    column = 0
    for factor, values in FACTORS.items():
        for value in range(len(values)):
            assert FACTOR_VALUES[column] == f"{factor}: {values[value]}"
            for row, number in enumerate([0, 3]):
                cells = (source.labels(number, 96)[factor] == value).unflatten(0, (4, 24)).unflatten(2, (4, 24))
                expected = cells.float().mean((1, 3)).flatten() > 0.5
                assert torch.equal(truth[row * 16 : row * 16 + 16, column], expected)
            column += 1
    assert truth.any()


@pytest.mark.usefixtures("few_scenes")
def test_a_demo_fit_knows_the_truth_of_every_concept(tiny_specs: dict[str, BackboneSpec]) -> None:
    usae = build.fit_demo(tiny_specs, SMALL)
    assert usae.factors == FACTOR_VALUES
    assert (usae.measured_on.name, usae.grid) == ("demo", (2, 2))
    statistics = usae.statistics
    assert statistics is not None
    assert statistics.auroc is not None
    assert statistics.counts.tolist() == [8, 32]
    assert statistics.auroc.shape == (2, 22, 12)
    held_out = DemoImages(8)
    paired = collect_tokens(TokenSource(usae.backbones, held_out, (2, 2)))
    truth = factor_truth(held_out, paired.numbers, (2, 2))
    codes = usae.encode("conv", paired.flat()["conv"].float()).dense(12)
    torch.testing.assert_close(statistics.auroc[1], auroc(codes, truth), equal_nan=True)


@pytest.mark.usefixtures("few_scenes")
def test_a_stopped_build_goes_on_with_what_is_finished(
    tiny_specs: dict[str, BackboneSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {n: s.model_copy(update={"weights": f"backbones/{n}.safetensors"}) for n, s in tiny_specs.items()}
    trained: list[str] = []

    def pretend(name: str, file: Path, *_: object, **__: object) -> None:
        trained.append(name)
        if trained == ["vit", "conv"]:
            raise KeyboardInterrupt
        file.parent.mkdir(parents=True, exist_ok=True)
        weights = create_model(name, tiny_specs[name]).state_dict()
        save_file({key: value.half() for key, value in weights.items()}, file)

    monkeypatch.setattr(build, "SPECS", specs)
    monkeypatch.setattr(pretrain_all, "SPECS", specs)
    monkeypatch.setattr(pretrain_all, "PRETRAINING_STEPS", {"vit": 1, "conv": 1})
    monkeypatch.setattr(pretrain_all, "pretrain", pretend)
    with pytest.raises(KeyboardInterrupt):
        build.build(tmp_path / "universe", workers=1)
    assert not (tmp_path / "universe").exists()
    build.build(tmp_path / "universe", workers=1)
    assert trained == ["vit", "conv", "conv"]
    assert [p.name for p in tmp_path.iterdir()] == ["universe"]
    usae = load(tmp_path / "universe")
    assert usae.factors == FACTOR_VALUES
    assert usae.tokens("vit", torch.rand(1, 3, 64, 64)).shape == (1, 4, 32)


def note(folder: Path, name: str, report: Callable[[str, int, int, str], None]) -> None:
    """A job in a process of its own: leaves a file, says so; `wrong` fails."""
    if name == "wrong":
        raise SystemExit(3)
    report(name, torch.get_num_threads(), 2, "seen")
    (folder / name).touch()


@pytest.mark.slow
def test_jobs_run_in_processes_and_are_heard(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int, str]] = []
    jobs = {name: (tmp_path, name) for name in "abc"}
    pretrain_all.in_processes(note, jobs, lambda *words: heard.append(words), workers=2, threads=1)
    assert sorted(heard) == [(name, 1, 2, "seen") for name in "abc"]
    assert {file.name for file in tmp_path.iterdir()} == set("abc")


@pytest.mark.slow
def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    message = "the training of backbone 'wrong' ended with status 3; the same command resumes from its last state"
    with pytest.raises(ChildProcessError, match=message):
        pretrain_all.in_processes(note, {"wrong": (tmp_path, "wrong")}, lambda *_: None, workers=2, threads=1)


def endless(folder: Path, name: str, report: Callable[[str, int, int, str], None]) -> None:
    """A job that goes on until it is ended, and leaves a longer file each time it reports."""
    last = time.monotonic() + 300
    while time.monotonic() < last:
        with (folder / name).open("a") as file:
            file.write(".")
        report(name, 1, 2, "")
        time.sleep(0.05)


ENDLESS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
sys.path[:0] = sys.argv[2:]
from test_build_probe import endless
from usae_train.demo.pretrain_all import in_processes
in_processes(endless, {name: (Path(sys.argv[1]), name) for name in "ab"}, lambda *words: None, 2, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_goes_on_without_the_one_that_began_it(tmp_path: Path, end: signal.Signals) -> None:
    files = [tmp_path / "a", tmp_path / "b"]

    def lengths() -> list[int]:
        return [file.stat().st_size if file.is_file() else 0 for file in files]

    def until(done: Callable[[], bool]) -> None:
        last = time.monotonic() + 240
        while not done():
            assert time.monotonic() < last
            time.sleep(0.2)

    def at_rest() -> bool:
        before = lengths()
        time.sleep(4)
        return lengths() == before

    modules = [Path(__file__).parent, Path(probe.__file__).parent]
    words = [sys.executable, "-c", ENDLESS, str(tmp_path), *map(str, modules)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        until(lambda: min(lengths()) > 3 or process.poll() is not None)
        process.send_signal(end)
        assert process.wait(120) == {signal.SIGTERM: 143, signal.SIGKILL: -9}[end]
    finally:
        process.kill()
    until(at_rest)


def test_probe_labels_leave_out_mixed_patches_and_background_shapes() -> None:
    class OneScene(DemoImages):
        def labels(self, index: int, size: int) -> dict[str, torch.Tensor]:
            assert index == 0
            shape = torch.zeros(size, size, dtype=torch.uint8)
            shape[:, : size // 2] = SHAPES.index("ring")
            mixed = torch.arange(size * size).view(size, size) % 2
            return {"colour": shape, "texture": mixed.to(torch.uint8), "shape": shape}

    labels = probe.patch_labels(OneScene(1), torch.tensor([0]), (1, 2), 8)
    assert labels["colour"].tolist() == [SHAPES.index("ring"), 0]
    assert labels["texture"].tolist() == [-1, -1]
    assert labels["shape"].tolist() == [SHAPES.index("ring"), -1]


def test_a_taught_direction_follows_what_the_tokens_know_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*_: object) -> list[tuple[DemoImages, PairedTokens]]:
        found = []
        for source in (DemoImages(120, "train"), DemoImages(60, "test")):
            numbers = torch.arange(len(source))
            truth = factor_truth(source, numbers, (4, 4)).float().unflatten(0, (len(source), 16))
            noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(len(source)))
            found.append((source, PairedTokens({"knows": truth, "noise": noise}, numbers)))
        return found

    monkeypatch.setattr(probe, "_seen", seen)
    monkeypatch.setattr(probe, "STEPS", 150)
    monkeypatch.setattr(probe, "LEARNING_RATE", 0.05)
    backbones: Any = dict.fromkeys(("knows", "noise"), SimpleNamespace(input_size=96))
    accuracies = probe.probe(backbones, (4, 4))
    assert min(accuracies["knows"].values()) > 0.95
    assert max(accuracies["noise"].values()) < 0.6
    areas = probe.linear_areas(backbones, (4, 4))
    assert set(areas["knows"]) == set(FACTOR_VALUES)
    for value in ("colour: red", "texture: dots", "shape: ring", "shape: background"):
        assert areas["knows"][value] > 0.99, value
    told = [value for value in areas["noise"].values() if value == value]  # without the values that no patch has
    assert 0.4 < sum(told) / len(told) < 0.6
