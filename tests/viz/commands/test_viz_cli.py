import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from running_commands import QUICK, run

import usae_viz.commands.drawing_report
from usae_viz.cli import app
from usae_viz.export.png import read_png


def test_maximize_writes_a_run(folder, tmp_path):
    out = tmp_path / "run"
    done = run("maximize", "--concept", "3,5", "--usae", folder, "--out", str(out), *QUICK)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == ["concept-00003", "concept-00005", "manifest", "run.json"]
    assert {p.name for p in (out / "concept-00003").iterdir()} == {"left.png", "right.png", "scores.json", "sheet.png"}
    record = json.loads((out / "run.json").read_text())
    assert record["objectives"] == ["Concept(3)", "Concept(5)"]
    assert record["runs"][0]["seed"] == 0
    assert len(record["usae_sha256"]) == 64
    assert "through left" in done.output
    ending = f"to open: the sheet.png of each of its 2 folders; usae-viz explore {out} makes one page of all"
    assert done.stdout.splitlines()[-1] == ending


def test_the_same_command_draws_the_same_pictures(folder, tmp_path):
    for name in ("one", "two"):
        run("maximize", "-c", "3", "--usae", folder, "-o", str(tmp_path / name), "-q", *QUICK)
    first, second = ((tmp_path / n / "concept-00003" / "left.png").read_bytes() for n in ("one", "two"))
    assert first == second


def test_json_can_be_parsed(folder, tmp_path):
    done = run("maximize", "-c", "top:2", "--usae", folder, "-o", str(tmp_path / "run"), "--json", "-q", *QUICK)
    answer = json.loads(done.stdout)
    assert len(answer["concepts"]) == 2
    assert set(answer["concepts"][0]["images"]) == {"left", "right"}
    listed = json.loads(run("concepts", "--usae", folder, "--json").stdout)
    assert len(listed) == 12
    assert [row["universality"] for row in listed] == sorted((row["universality"] for row in listed), reverse=True)


def test_any_objective_is_scored_for_a_concept_that_is_named(folder, tmp_path):
    words = ["--objective", "Channel('left', 3)", "--usae", folder, *QUICK]
    strict = [*words, "--verify", "5", "--verdict", "share=1", "--out", str(tmp_path / "run")]
    done = run("maximize", *strict)
    assert done.exit_code == 0, done.stderr
    assert "concept 5, under views" in done.stdout
    *_, summed, to_open = done.stdout.splitlines()
    assert summed.endswith("run: 1 picture, 1 failed")
    sheet = Path(to_open.removeprefix("to open: "))
    assert sheet.parents[1] == tmp_path / "run"
    assert sheet.is_file()
    (kept,) = json.loads(run("maximize", *strict, "--json").stdout)["concepts"]
    assert (kept["subject"], kept["images"]["left"]["verdict"], kept["thresholds"]["share"]) == (
        "concept 5",
        "failed",
        1,
    )
    done = run("maximize", *words, "--out", str(tmp_path / "without"))
    assert "Channel('left', 3): left (not verified: it has no concept or class; see --verify)" in " ".join(
        done.stdout.split()
    )


def test_concepts_prints_a_table(folder):
    done = run("concepts", "--usae", folder, "--sort", "energy", "--top", "4")
    assert done.exit_code == 0
    assert "4 of 12 concepts by energy" in done.output


def test_render_draws_every_mode_and_seed(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"usae: {folder}\nconcepts: [3]\nmodes: [per-model, shared]\nseeds: [0, 1]\n"
        "settings:\n  steps: 2\n  views: 1\n  size: 32\n"
    )
    done = run("render", str(recipe), "--out", str(tmp_path / "run"), "-q")
    assert done.exit_code == 0, done.output
    names = {p.name for p in (tmp_path / "run" / "concept-00003").glob("*.png")}
    images = {f"{image}-seed-{seed}.png" for image in ("left", "right", "shared") for seed in (0, 1)}
    assert names == images | {"sheet.png"}
    scores = json.loads((tmp_path / "run" / "concept-00003" / "scores.json").read_text())["images"]
    for image, row in scores.items():
        fires = {name: score["fires"] for name, score in row["backbones"].items()}
        own = image.partition("-")[0]
        assert row["fired"] is (all(fires.values()) if own == "shared" else fires[own])
    inside = read_png(tmp_path / "run" / "concept-00003" / "shared-seed-1.png")
    assert (inside["settings"]["mode"], inside["settings"]["seed"]) == ("shared", 1)


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "given.png"
    pixels = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 40), Image.Resampling.BILINEAR).save(file)
    return str(file)


def test_invert_draws_a_given_pictures_codes(folder, tmp_path, picture):
    out = tmp_path / "run"
    done = run("invert", picture, "--usae", folder, "--out", str(out), "--match", "right", *QUICK)
    assert done.exit_code == 0, done.output
    drawn = out / "objective-samecodes-right"
    assert {p.name for p in drawn.iterdir()} == {"right.png", "sheet.png"}
    inside = read_png(drawn / "right.png")
    assert (inside["objective"], inside["settings"]["reference"]) == ("SameCodes(['right'])", picture)
    assert inside["settings"]["start"] is None
    assert "SameCodes(['right']): right" in done.output
    with Image.open(drawn / "sheet.png") as sheet:
        assert sheet.width > 420  # the given picture stands beside


def test_invert_edits_by_the_names_of_a_labels_file(folder, tmp_path, picture):
    labels = {"schema": 1, "labels": [{"concept": 5, "name": "spirals"}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ["invert", picture, "--usae", folder, "--edit", "left:spirals=0", "--match", "left", *QUICK, "--quiet"]
    done = run(*words, "--labels", str(tmp_path / "labels.json"), "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.output
    (drawn,) = (tmp_path / "run").rglob("left.png")
    assert read_png(drawn)["settings"]["edits"] == ["left:5=0"]
    assert "no concept 'spirals'" in run(*words, "--out", str(tmp_path / "other")).stderr


def test_invert_takes_what_maximize_does_of_seeds_transparency_and_early_ends(folder, tmp_path, picture):
    """A learning rate at which nothing rises: each settles as soon as two times two steps can be compared."""
    out = tmp_path / "run"
    words = ["invert", picture, "--usae", folder, "--out", str(out), "--match", "right", "--augmentation", "none"]
    words += ["--seed", "4", "--seeds", "2", "--alpha", "--patience", "2", "--memory", "1"]
    done = run(*words, "--learning-rate", "1e-30", "--steps", "30", "--views", "1", "--size", "32")
    assert done.exit_code == 0, done.output
    drawn = out / "objective-samecodes-right"
    assert {p.name for p in drawn.iterdir()} == {"right-seed-4.png", "right-seed-5.png", "sheet.png"}
    assert "SameCodes(['right']): settled after 4 of 30 steps" in done.stderr
    with Image.open(drawn / "right-seed-5.png") as seen:
        assert seen.mode == "RGBA"
    settings = read_png(drawn / "right-seed-5.png")["settings"]
    assert (settings["seeds"], settings["patience"], settings["memory"], settings["alpha"]) == (2, 2, 1.0, True)


def test_objectives_are_drawn_a_folder_each_and_once(folder, tmp_path):
    out = tmp_path / "run"
    expressions = ["Concept(3) - 0.5 * Concept(5)", "Concept(3)", "Concept(3)-0.5*Concept(5)", "Channel('left', 2)"]
    words = [word for text in expressions for word in ("--objective", text)]
    done = run("maximize", "-c", "3", *words, "--usae", folder, "--out", str(out), *QUICK)
    assert done.exit_code == 0, done.output
    folders = {"concept-00003", "objective-concept-3-minus-0.5-concept-5", "objective-channel-left-2"}
    assert {p.name for p in out.iterdir()} == folders | {"manifest", "run.json"}
    written = ["Concept(3)", "Concept(3) - 0.5 * Concept(5)", "Channel('left', 2)"]
    assert json.loads((out / "run.json").read_text())["objectives"] == written
    assert {p.name for p in (out / "objective-channel-left-2").iterdir()} == {"left.png", "sheet.png"}


@pytest.mark.parametrize(("more", "weight"), [([], "5"), (["--closeness", "0.25"], "0.25")])
def test_a_start_is_accentuated(folder, tmp_path, picture, more, weight):
    out = tmp_path / "run"
    words = ["maximize", "-c", "3", "--start", picture, "--usae", folder, "--out", str(out), "-q"]
    done = run(*words, *more, *QUICK)
    assert done.exit_code == 0, done.output
    record = json.loads((out / "run.json").read_text())
    assert record["objectives"] == [f"Concept(3) + {weight} * Closeness()"]
    assert record["runs"][0]["start"] == picture
    assert (out / f"objective-concept-3-{weight}-closeness" / "scores.json").is_file()


def test_a_start_keeps_its_own_spectrum(folder, tmp_path, picture):
    words = ["maximize", "-c", "3", "--start", picture, "--usae", folder, "--out", str(tmp_path / "run"), "-q"]
    assert run(*words, "--parameterization", "maco", *QUICK).exit_code == 0
    done = run(*words[:-2], str(tmp_path / "other"), "--parameterization", "maco", "--spectrum", "1/f", *QUICK)
    assert done.exit_code == 1
    assert "a picture that is started from keeps its own spectrum; leave --spectrum or --start out" in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_recipe_can_hold_objectives(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"usae: {folder}\nobjectives:\n  - Concept(3) - 0.5 * Concept(5)\n  - Channel('left', 2)\n"
        "modes: [per-model, coupled]\nsettings: {steps: 2, views: 1, size: 32, snapshots: 1}\n"
        "outputs: [png, alpha, mp4, sheet]\n"
    )
    out = tmp_path / "run"
    done = run("render", str(recipe), "--out", str(out), "-q")
    assert done.exit_code == 0, done.output
    both = {"left", "right", "coupled-left", "coupled-right"}
    files = {p.name for p in (out / "objective-concept-3-minus-0.5-concept-5").iterdir()}
    stills = {f"{name}.png" for name in both}
    assert files == stills | {f"{name}.mp4" for name in both} | {"sheet.png", "scores.json"}
    channel = {p.name for p in (out / "objective-channel-left-2").glob("*.png")}
    assert channel == {"left.png", "coupled-left.png", "sheet.png"}
    with Image.open(out / "objective-channel-left-2" / "coupled-left.png") as drawn:
        assert drawn.mode == "RGBA"


def test_ctrl_c_is_status_130_and_the_picture_is_written(folder, tmp_path, monkeypatch):
    def interrupting(_stage, done, _total, _note):
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(usae_viz.commands.drawing_report, "progress_report", lambda *_: nullcontext(interrupting))
    done = run("maximize", "-c", "3,5", "--usae", folder, "--out", str(tmp_path / "run"), *QUICK, "--workers", "1")
    assert done.exit_code == 130
    assert "Concept(3): stopped by hand after 2 of 3 steps; the best so far is kept" in done.stderr
    written = {p.name for p in (tmp_path / "run").iterdir()}
    assert written == {"concept-00003", "manifest", "run.json"}  # 5 was not begun
    assert "stopped by hand" in read_png(tmp_path / "run" / "concept-00003" / "left.png")["ended"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\nmodes: [per-model, shared]\nsettings: {{size: 32, steps: 3}}\n")
    assert run("render", str(recipe), "--out", str(tmp_path / "modes"), "--workers", "1").exit_code == 130
    stills = {p.stem for p in (tmp_path / "modes" / "concept-00003").glob("*.png")}
    assert stills == {"left", "right", "sheet"}  # shared was not begun


def test_a_score_that_is_lost_is_status_1_and_the_picture_is_written(folder, tmp_path):
    """A learning rate that no float survives: the first step is the last that can be drawn."""
    words = ["maximize", "-c", "3,5", "--usae", folder, "--out", str(tmp_path / "run"), "--learning-rate", "1e37"]
    done = run(*words, *QUICK)
    assert done.exit_code == 1
    assert "Concept(3): the picture of left is not finite at step 1; the best so far is kept" in done.stderr
    assert done.stderr.endswith("error: the score became NaN or infinite in 2 of 2 folders, see above\n")
    written = {"concept-00003", "concept-00005", "manifest", "run.json"}
    assert {p.name for p in (tmp_path / "run").iterdir()} == written
    with Image.open(tmp_path / "run" / "concept-00003" / "left.png") as drawn:
        assert len(drawn.getcolors(10_000)) > 100


def test_an_optimization_that_settled_is_done(folder, tmp_path):
    words = ["maximize", "-c", "3,5", "--usae", folder, "--out", str(tmp_path / "run"), "--patience", "2"]
    done = run(*words, "--steps", "60", "--views", "1", "--size", "32", "--learning-rate", "1e-9")
    assert done.exit_code == 0
    assert "Concept(3): settled after" in done.stderr
    assert (tmp_path / "run" / "concept-00005" / "sheet.png").is_file()


def test_help_does_not_import_torch():
    code = "import sys; import usae_viz.cli, usae_train.cli; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_help_says_units_and_defaults():
    text = run("maximize", "--help").output
    assert "pixels" in text
    assert "default: 96" in text


def test_help_says_what_stands_alone_and_what_code_is_for():
    """--concept beside --objective was taken for a sum, and --allow-code for leave to give code as --objective."""
    command = typer.main.get_command(app).commands["maximize"]
    said = {param.name: param.help for param in command.params}
    assert "drawn by itself" in said["concept"]
    assert "drawn by itself" in said["objective"]
    assert all(part in said["allow_code"] for part in ("--parameterization", "--transforms", "into a recipe"))
