import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SMALL, SPECS, assert_one_error, run

from usae_train.images.spectrum import load_spectrum
from usae_train.model.checkpoint import load
from usae_train.runtime.errors import UsageError


@pytest.fixture
def specs(tmp_path: Path) -> str:
    (tmp_path / "specs.yaml").write_text(SPECS)
    return str(tmp_path / "specs.yaml")


def test_fit_writes_a_usae_that_loads(specs: str, picture_folder: Path, tmp_path: Path) -> None:
    (picture_folder / "1.png").write_text("broken")
    out = tmp_path / "made" / "universe"
    words = ("fit", picture_folder, "--backbones", specs, "--out", out, "--seed", 4, *SMALL)
    code, said, err = run(*words)
    assert code == 1
    assert err.splitlines()[-1].startswith("error: 1 of 6 pictures cannot be read, more than 1.0%; the first: 1.png")
    assert not out.exists()
    code, said, err = run(*words, "--max-broken", 0.2, "--resume")
    assert code == 0, err
    first, r2, alive, outliers, following = said.splitlines()
    assert re.fullmatch(rf"{re.escape(str(out))}: 8 concepts over vit, conv; dead: vit \d+\.\d%, conv \d+\.\d%", first)
    assert r2.startswith("R² of a backbone's own tokens ")
    assert re.fullmatch(r"\d of 8 concepts fire, \d in every backbone", alive)
    assert outliers == "high-norm tokens: none"
    assert following.startswith(
        f"next: usae-train evaluate {out} HELD_OUT says how good it is; usae-viz maximize -c 0 "
    )
    assert err.startswith("skipped: 1.png cannot be read")
    usae = load(out)
    assert (usae.n_concepts, usae.k, usae.grid, usae.names) == (8, 2, (2, 2), ["vit", "conv"])
    assert usae.statistics is not None
    assert usae.statistics.counts[0] == 5
    assert [p.name for p in out.parent.iterdir()] == ["universe"]


def test_quiet_says_nothing_and_the_seed_decides(specs: str, picture_folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ("--backbones", specs, "-o", tmp_path / name, "--seed", seed, "--quiet", "--recipe", "published")
        assert run("fit", picture_folder, *arguments, *SMALL) == (0, "", "")
    assert load(tmp_path / "a").sha256 == load(tmp_path / "b").sha256 != load(tmp_path / "c").sha256
    assert load(tmp_path / "a").recipe == "published"


@pytest.mark.parametrize("independent", [False, True])
def test_the_start_seed_decides_where_dictionaries_start(
    specs: str, picture_folder: Path, tmp_path: Path, independent: bool
) -> None:
    words = ["--backbones", specs, "--quiet", *SMALL, *(["--independent"] if independent else [])]
    for name, init_seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / name
        assert run("fit", picture_folder, *words, "-o", out, "--init-seed", init_seed) == (0, "", "")
    inner = "vit" if independent else "."
    a, b, c = (load(tmp_path / name / inner).sha256 for name in "abc")
    assert a == b != c


def test_a_wrong_folder_is_one_line(specs: str, tmp_path: Path) -> None:
    out = tmp_path / "universe"
    assert_one_error(run("fit", tmp_path / "nowhere", "--backbones", specs, "-o", out, *SMALL), "nowhere")
    assert_one_error(run("fit", tmp_path, "--backbones", specs, "-o", out, *SMALL), "no pictures in")
    assert not out.exists()


def test_wrong_settings_are_one_line(specs: str, picture_folder: Path, tmp_path: Path) -> None:
    fit = ("fit", picture_folder, "-o", tmp_path / "universe", "--backbones")
    assert_one_error(run(*fit, specs, "-k", 9, "--n-concepts", 8), "k is 9 and n_concepts 8", status=2)
    unknown = "unknown recipe 'best'; expected default or frozen or published or shuffled"
    assert_one_error(run(*fit, specs, "--recipe", "best"), unknown, status=2)
    assert_one_error(run(*fit, "resnet10x", *SMALL), "timm knows no model 'resnet10x'")
    assert_one_error(run(*fit, "nowhere.yaml", *SMALL), "no file 'nowhere.yaml'")
    assert_one_error(run(*fit, specs, *SMALL, "--device", "quantum"), "no device 'quantum' here; expected `cpu`")
    assert not (tmp_path / "universe").exists()


@pytest.mark.parametrize(
    ("words", "work"),
    [
        ("fit", "usae_train.commands.fit_together._train"),
        ("fit --independent", "usae_train.training.independent_fit.build_backbones"),
        ("fit --starts 2", "usae_train.agreement.trainings.fit_starts"),
        ("extract", "usae_train.tokens.extract.plan_extraction"),
    ],
)
def test_which_backbones_are_taken_is_said_before_they_are_fetched(words, work, picture_folder, tmp_path, monkeypatch):
    """Offline the hub was tried for half a minute, without a word of what was sought there."""

    def fetches(*_: object, **__: object) -> None:
        raise UsageError("offline")

    monkeypatch.setattr(work, fetches)
    command, *options = words.split()
    _, _, said = run(command, picture_folder, "-o", tmp_path / "out", *options)
    assert said.startswith(
        "no --backbones: taking `paper`, 3 networks from the hub (vit_base_patch16_siglip_224.webli, "
    )
    assert said.splitlines()[1:] == ["error: offline"]
    assert run(command, picture_folder, "-o", tmp_path / "out", "-q", *options)[2] == "error: offline\n"


def test_a_taken_out_is_refused_before_any_work(picture_folder: Path) -> None:
    assert_one_error(run("fit", picture_folder, "-o", picture_folder), "exists already; choose another --out")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "pictures", "--out", "o", "--concepts", "3"],
        ["fit", "pictures"],
        ["fit", "pictures", "--out", "o", "--steps", "many"],
        ["fti"],
    ],
)
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


@pytest.mark.slow
def test_the_module_runs_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from usae_train.cli import main; main()", "spectrum", "nowhere", "-o", "s"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: no folder 'nowhere'; expected a folder of pictures, or `demo`\n"
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick_and_loads_no_torch() -> None:
    script = (
        "import sys\ntry:\n    from usae_train.cli import main; main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout
    assert "AssertionError" not in done.stderr


def test_spectrum_writes_a_file_that_loads(picture_folder: Path, tmp_path: Path) -> None:
    code, _, err = run("spectrum", picture_folder, "--out", tmp_path / "s.safetensors", "--size", 32)
    assert code == 0, err
    assert load_spectrum(tmp_path / "s.safetensors").shape == (3, 32, 17)


def test_demo_refuses_a_taken_folder_at_once(picture_folder: Path) -> None:
    assert_one_error(run("demo", "--out", picture_folder), "exists already")


def test_a_layer_that_is_not_there_is_one_line(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SPECS.replace("input_size: 64", "input_size: 64\n  layer: 7"))
    arguments = ("--backbones", tmp_path / "s.yaml", "-o", tmp_path / "universe", *SMALL)
    assert_one_error(run("fit", picture_folder, *arguments), "layer")
