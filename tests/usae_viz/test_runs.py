"""Runs of recipes: what is drawn again and what is not, who may write, and what is left when something goes wrong."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from typer.testing import CliRunner

import usae_train as ut
import usae_viz.render
from usae_train.distributed import ALONE, Ranks
from usae_viz.cli import app
from usae_viz.manifest import Manifest, claimed
from usae_viz.outputs import CELL, MARGIN, ROW
from usae_viz.plan import plan_recipe
from usae_viz.recipe import Recipe, read_recipe
from usae_viz.render import _packs, render

QUICK = "settings: {steps: 2, crops: 1, size: 32}\n"


@pytest.fixture(scope="module")
def folder(usae, tmp_path_factory):
    return str(ut.save(usae, tmp_path_factory.mktemp("usae") / "tiny"))


@pytest.fixture
def drawings(monkeypatch):
    """What is drawn, as (objective, settings), while a test runs."""
    seen = []
    really = usae_viz.render.maximize_each

    def watched(usae, objectives, settings, *rest):
        seen.extend((str(objective), settings) for objective in objectives)
        return really(usae, objectives, settings, *rest)

    monkeypatch.setattr(usae_viz.render, "maximize_each", watched)
    return seen


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def drawn(folder, room, text, *words, out="run"):
    """Render a recipe's text."""
    recipe = room / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    done = run("render", recipe, "--out", room / out, "-q", *words)
    assert done.exit_code == 0, done.stderr
    return room / out


def contents(out):
    """{path: bytes} of everything in a run but the lock."""
    return {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file() and f.name != "lock"}


def test_what_is_finished_is_not_drawn_again(folder, tmp_path, drawings):
    text = f"concepts: [3, 5]\nmodes: [per-model, shared]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    before = contents(out)
    assert len(drawings) == 4
    drawings.clear()
    drawn(folder, tmp_path, text)
    drawn(folder, tmp_path, text, "--resume")
    assert drawings == []
    assert contents(out) == before


def test_a_change_draws_only_what_it_changes(folder, tmp_path, drawings):
    both = "concepts: [3]\nvariants:\n  a: {}\n  b: {crops: 2}\n" + QUICK
    out = drawn(folder, tmp_path, both)
    kept = (out / "concept-00003" / "a-left.png").read_bytes()
    drawings.clear()
    drawn(folder, tmp_path, both.replace("crops: 2", "crops: 3"))
    assert [settings.crops for _, settings in drawings] == [3]
    assert (out / "concept-00003" / "a-left.png").read_bytes() == kept
    drawings.clear()
    drawn(folder, tmp_path, both.replace("crops: 2", "crops: 3").replace("[3]", "[3, 5]"))
    assert {objective for objective, _ in drawings} == {"Concept(5)"}


def test_a_change_of_names_alone_draws_nothing(folder, tmp_path, drawings):
    """A second seed gives the first a suffix, and a variant can be called something else."""
    out = drawn(folder, tmp_path, f"concepts: [3]\nseeds: [0]\n{QUICK}")
    with Image.open(out / "concept-00003" / "left.png") as picture:
        before = picture.tobytes()
    drawings.clear()
    drawn(folder, tmp_path, f"concepts: [3]\nseeds: [0, 1]\n{QUICK}")
    assert [settings.seed for _, settings in drawings] == [1]
    drawings.clear()
    drawn(folder, tmp_path, f"concepts: [3]\nseeds: [0, 1]\nvariants: {{new: {{}}}}\n{QUICK}")
    assert drawings == []
    room = out / "concept-00003"
    names = {f"new-{backbone}-seed-{seed}" for backbone in ("left", "right") for seed in (0, 1)}
    assert {file.stem for file in room.glob("*.png")} == names | {"sheet"}
    with Image.open(room / "new-left-seed-0.png") as picture:
        assert picture.tobytes() == before
        assert json.loads(picture.info["usae"])["picture"] == "new-left-seed-0"
    scores = json.loads((room / "scores.json").read_text())
    assert set(scores["images"]) == names
    assert set(scores["agreement"]) == {"new-left", "new-right"}


def test_what_is_damaged_or_gone_is_drawn_again(folder, tmp_path, drawings):
    text = f"concepts: [3, 5]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    before = contents(out)
    (out / "concept-00003" / "left.png").write_bytes(b"half")
    (out / "concept-00003" / "scores.json").unlink()
    (out / "concept-00005" / "sheet.png").unlink()
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert [objective for objective, _ in drawings] == ["Concept(3)"]
    assert contents(out) == before


def test_a_picture_of_each_variant_that_is_gone_is_drawn_again(folder, tmp_path, drawings):
    """The second variant's record says files that are not there while the sheet is made after the first."""
    text = f"concepts: [3]\nvariants: {{a: {{}}, b: {{crops: 2}}}}\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    before = contents(out)
    for variant in "ab":
        (out / "concept-00003" / f"{variant}-left.png").unlink()
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert len(drawings) == 2
    assert contents(out) == before


def test_nothing_is_said_of_a_picture_whose_file_another_took(folder, tmp_path, drawings):
    """Two variants change names: the first takes the second's file, which is drawn again."""
    text = "concepts: [3]\nvariants: {a: {}, b: {crops: 2}}\n"
    drawn(folder, tmp_path, text + QUICK)
    drawings.clear()
    text = "concepts: [3]\nvariants: {b: {}, a: {crops: 2}}\n"
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\n{text}{QUICK}")
    plan = plan_recipe(ut.load(folder), read_recipe(tmp_path / "recipe.yaml"), tmp_path)
    manifest = Manifest(tmp_path / "run")
    assert [manifest.adopt(drawing) for drawing in plan.drawings] == [True, False]
    assert [manifest.drawn(drawing) is not None for drawing in plan.drawings] == [True, False]
    drawn(folder, tmp_path, text + QUICK)
    assert [settings.crops for _, settings in drawings] == [2]


def test_only_files_of_ours_are_cleaned_away(folder, tmp_path):
    others = [".download.part", "mine/deep/.left.png.1.part", "mine/.model.1.part/weights"]
    left = ["concept-00003/.left.png.17.part", ".run.json.17.part"]
    for file in (*others, *left):
        (tmp_path / "run" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / file).touch()
    out = drawn(folder, tmp_path, f"concepts: [3]\n{QUICK}")
    assert [file for file in (*others, *left) if (out / file).exists()] == others


def test_a_folder_with_brackets_in_its_name_is_told_as_it_is(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nobjectives: [\"Channel('left', 2)\"]\n{QUICK}")
    for name in ("a[red]", "b[x"):
        done = run("render", recipe, "--out", tmp_path / name)
        assert f"{name}: 1 pictures" in done.stdout.replace("\n", "")
    done = run("render", recipe, "--out", tmp_path / "[" / "b]")
    assert "[/b]: 1 pictures" in done.stdout.replace("\n", "")


def test_the_work_is_divided_folder_by_folder_and_settings_by_settings(usae, tmp_path, monkeypatch):
    recipe = Recipe(concepts=["0-4"], variants={"a": {}, "b": {"crops": 2}}, settings={"size": 32})
    plan = plan_recipe(usae, recipe, tmp_path)  # drawings 0 and 1 of concept 0, 2 and 3 of 1, ...
    assert _packs(usae, plan, [2, 8, 9], ALONE) == [[0], [1], [3], [4], [5], [6], [7]]
    monkeypatch.setattr(usae_viz.render, "eyes_for", lambda usae, settings: SimpleNamespace(at_once=2))
    assert _packs(usae, plan, [2, 8, 9], ALONE) == [[0], [1, 3], [4, 6], [5, 7]]
    assert _packs(usae, plan, [2, 8, 9], Ranks(0, 4)) == _packs(usae, plan, [2, 8, 9], Ranks(1, 4))
    assert _packs(usae, plan, [2, 8, 9], Ranks(0, 4))[:2] == [[0], [1]]


def test_the_parts_of_a_run_are_as_the_explorer_reads_them(folder, tmp_path):
    out = drawn(folder, tmp_path, f"concepts: [3]\nvariants: {{a: {{}}, b: {{seed: 4, mode: shared}}}}\n{QUICK}")
    record = json.loads((out / "run.json").read_text())
    assert record["schema"] == 1
    assert record["objectives"] == ["Concept(3)"]
    assert [(settings["mode"], settings["seed"]) for settings in record["runs"]] == [("per-model", 0), ("shared", 4)]
    assert record["variants"] == ["a", "b"]
    assert record["recipe"]["variants"]["b"]["mode"] == "shared"
    scores = json.loads((out / "concept-00003" / "scores.json").read_text())
    assert set(scores["images"]) == {"a-left", "a-right", "b-shared"}
    assert [(own["variant"], own["images"]) for own in scores["drawings"]] == [
        ("a", ["a-left", "a-right"]), ("b", ["b-shared"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("variants: {a: {}, b: {seed: 4}}", 2, 2),
        (
            "modes: [shared]\nvariants: {a: {}, b: {seed: 1}, c: {seed: 2}, d: {seed: 3}, e: {seed: 4}, f: {seed: 5}}",
            2,
            5,
        ),
        ("modes: [per-model, shared]", 1, 3),
    ],
)
def test_a_sheet_has_a_row_a_variant_and_single_pictures_abreast(folder, tmp_path, text, rows, columns):
    quick = QUICK.replace("steps: 2", "steps: 1")
    out = drawn(folder, tmp_path, f"concepts: [3]\n{text}\n{quick}")
    with Image.open(out / "concept-00003" / "sheet.png") as page:
        assert page.width == max(420, MARGIN + columns * (CELL + MARGIN))
        plain = page.height - (rows - 1) * ROW
    with Image.open(
        drawn(folder, tmp_path, f"concepts: [3]\n{quick}", out="one") / "concept-00003" / "sheet.png"
    ) as one:
        assert plain == one.height


def test_a_dry_run_says_what_is_left_and_writes_nothing(folder, tmp_path):
    text = f"concepts: [3, 5]\nmodes: [per-model, shared]\n{QUICK}outputs: [gif]\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    done = run("render", recipe, "--out", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "6 pictures to draw in 2 folders, 0 there already" in done.stdout
    assert list(tmp_path.iterdir()) == [recipe]
    drawn(folder, tmp_path, text.replace("[3, 5]", "[3]"))
    recipe.write_text(f"usae: {folder}\n{text}")
    before = contents(tmp_path / "run")
    left = json.loads(run("render", recipe, "--out", tmp_path / "run", "--dry-run", "--json").stdout)
    assert (left["pictures"], left["finished"], left["folders"]) == (3, 3, 1)
    assert [(part["mode"], part["pictures"]) for part in left["parts"]] == [("per-model", 2), ("shared", 1)]
    assert left["seconds"] > 0
    assert contents(tmp_path / "run") == before


def test_a_dry_run_knows_how_large_animations_become(folder, tmp_path):
    text = "concepts: [3]\nsettings: {steps: 48, crops: 1, size: 32}\noutputs: [gif]\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    told = json.loads(run("render", recipe, "--out", tmp_path / "run", "--dry-run", "--json").stdout)["megabytes"]
    room = drawn(folder, tmp_path, text) / "concept-00003"
    really = sum(file.stat().st_size for file in room.iterdir() if file.suffix in (".png", ".gif")) / 1e6
    assert 0.5 * really < told < 2 * really  # with frames all alike it was a ninth


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


def test_resume_goes_on_with_the_last_run_of_the_recipe(folder, tmp_path, monkeypatch, drawings):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\n{QUICK}")
    nothing = run("render", recipe, "--resume")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (1, 1)
    assert "no run of mine below outputs/ to go on with" in nothing.stderr
    assert run("render", recipe, "-q").exit_code == 0
    drawings.clear()
    assert run("render", recipe, "-q", "--resume").exit_code == 0
    assert drawings == []
    outputs = tmp_path / "outputs"
    (first,) = outputs.iterdir()
    for other in ("mine-9-2025-01-01-000000", "mine-99", f"{first.name}-9", f"{first.name}-10"):
        (outputs / other / "manifest").mkdir(parents=True)
    assert run("render", recipe, "-q", "--resume").exit_code == 0
    assert len(drawings) == 1, "the tenth run of one second is after the ninth; other recipes' runs are theirs"
    assert (outputs / f"{first.name}-10" / "run.json").is_file()


def test_a_full_disk_is_one_line_and_what_is_finished_stays(folder, tmp_path, monkeypatch, drawings):
    text = f"concepts: [3, 5]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    really, saved = Image.Image.save, []

    def full(self, file, *rest, **how):
        saved.append(file)
        if len(saved) > 4:  # two pictures and a sheet of the first concept, one picture of the second
            Path(file).write_bytes(b"\x89PNG")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(self, file, *rest, **how)

    monkeypatch.setattr(Image.Image, "save", full)
    recipe = tmp_path / "recipe.yaml"
    done = run("render", recipe, "--out", tmp_path / "run", "-q")
    monkeypatch.setattr(Image.Image, "save", really)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr
    assert not list((tmp_path / "run").rglob(".*"))
    assert {file.name for file in (tmp_path / "run").glob("concept-00003/*")} == {
        "left.png", "right.png", "scores.json", "sheet.png"
    }  # fmt: skip
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert [objective for objective, _ in drawings] == ["Concept(5)"]
    assert contents(tmp_path / "run") == whole


@dataclass(frozen=True)
class Lonely(Ranks):
    """One of two processes, whose other one has died."""

    def told(self, find):
        return find()

    def wait(self):
        pass


def test_the_share_of_a_process_that_died_is_drawn_by_the_next_run(folder, tmp_path, drawings):
    text = f"concepts: [3, 5]\nmodes: [per-model, shared]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    drawings.clear()
    recipe = tmp_path / "recipe.yaml"
    model = ut.load(folder)
    plan = plan_recipe(model, read_recipe(recipe), tmp_path)
    render(model, plan, tmp_path / "run", ranks=Lonely(0, 2))
    assert [objective for objective, _ in drawings] == ["Concept(3)", "Concept(5)"]
    drawings.clear()
    drawn(folder, tmp_path, text, "--resume")
    assert {(objective, settings.mode) for objective, settings in drawings} == {
        ("Concept(3)", "shared"), ("Concept(5)", "shared")
    }  # fmt: skip
    assert contents(tmp_path / "run") == whole


def draw_in_a_process(words):
    os.environ["OMP_NUM_THREADS"] = "1"
    app(words, standalone_mode=False)


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_broken(folder, tmp_path):
    """kill -9, twenty times and more: what was finished stays as it is, and the end is as without."""
    text = f"concepts: 0-5\nmodes: [per-model, shared]\nseeds: [0, 1, 2]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    out, words = tmp_path / "run", ["render", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "-q"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["usae_viz.cli", "usae_viz.render", "usae_viz.show", "timm", "kornia"])
    delay, finished, kills = random.Random(0), {}, 0

    def records():
        return {file.name for file in (out / "manifest").glob("[!.]*.json")}

    while kills < 21:
        process = context.Process(target=draw_in_a_process, args=(words,))
        process.start()
        before = len(records())
        while process.is_alive() and len(records()) == before:
            time.sleep(0.002)
        time.sleep(delay.uniform(0, 0.06))  # about as long as one drawing and its sheet
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0
            break
        kills += 1
        for file in out.rglob("[!.]*.json"):
            json.loads(file.read_text())
        for file in out.rglob("[!.]*.png"):
            with Image.open(file) as picture:
                picture.load()
        for name, times in finished.items():
            assert (out / name).stat().st_mtime_ns == times, f"{name} was drawn again after it was finished"
        for name in records():
            record = json.loads((out / "manifest" / name).read_text())
            for file in record["files"]:
                place = next(out.glob(f"concept-{record['concept']:05d}/{file}"))
                finished[str(place.relative_to(out))] = place.stat().st_mtime_ns
    assert kills >= 20
    assert len(records()) < 36, "the run was done before it was killed often enough"
    drawn(folder, tmp_path, text, "--resume")
    assert contents(out) == whole
    assert not list(out.rglob(".*"))
    for name, times in finished.items():
        assert (out / name).stat().st_mtime_ns == times


@pytest.mark.slow
def test_two_processes_write_the_files_of_one_to_the_bit(folder, tmp_path):
    text = f"concepts: [3, 5, 7]\nmodes: [per-model, shared]\nseeds: [0, 1]\n{QUICK}outputs: [png, gif, sheet]\n"
    alone = contents(drawn(folder, tmp_path, text, out="alone"))
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "usae_viz", "render"]
    words += [str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(Path(usae_viz.__file__).parents[1])}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'two'}: 18 pictures" in done.stdout.replace("\n", "")
    assert contents(tmp_path / "two") == alone
