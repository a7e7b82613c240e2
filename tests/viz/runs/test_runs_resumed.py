"""Runs of recipes that are resumed: what is drawn again and what is not, after changes, damage and kills."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass

import pytest
from PIL import Image
from running_recipes import QUICK, contents, drawn, run

import usae_train as ut
import usae_viz as uv
from usae_train.files.provenance import file_hash
from usae_train.runtime.distributed import DistributedContext
from usae_viz.cli import app
from usae_viz.export.png import read_png, rewrite_png
from usae_viz.runs.manifest import Manifest
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe, read_render_recipe
from usae_viz.runs.render import RenderExecution, render_plan
from usae_viz.runs.run_folder import read_run


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
    both = "concepts: [3]\nvariants:\n  a: {}\n  b: {views: 2}\n" + QUICK
    out = drawn(folder, tmp_path, both)
    kept = (out / "concept-00003" / "a-left.png").read_bytes()
    drawings.clear()
    drawn(folder, tmp_path, both.replace("views: 2", "views: 3"))
    assert [settings.views for _, settings in drawings] == [3]
    assert (out / "concept-00003" / "a-left.png").read_bytes() == kept
    drawings.clear()
    drawn(folder, tmp_path, both.replace("views: 2", "views: 3").replace("[3]", "[3, 5]"))
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
    text = f"concepts: [3]\nvariants: {{a: {{}}, b: {{views: 2}}}}\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    before = contents(out)
    for variant in "ab":
        (out / "concept-00003" / f"{variant}-left.png").unlink()
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert len(drawings) == 2
    assert contents(out) == before


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("{a: {}, b: {views: 2}}", "{b: {}, a: {views: 2}}"),
        ("{a: {}, b: {views: 2}, c: {views: 3}}", "{b: {}, c: {views: 2}, a: {views: 3}}"),
        ("{a: {}, b: {views: 2}, c: {views: 3}}", "{b: {}, c: {views: 2}, new: {views: 3}}"),
    ],
    ids=["two", "three", "one_after_the_other"],
)
def test_variants_that_exchange_their_names_are_not_drawn_again(folder, tmp_path, drawings, first, then):
    """The first would be written over the second's files: also where it is stopped between them."""
    drawn(folder, tmp_path, f"concepts: [3]\nvariants: {first}\n{QUICK}")
    drawings.clear()
    out = drawn(folder, tmp_path, f"concepts: [3]\nvariants: {then}\n{QUICK}")
    assert drawings == []
    at_once = drawn(folder, tmp_path, f"concepts: [3]\nvariants: {then}\n{QUICK}", out="other")
    assert contents(out / "concept-00003") == contents(at_once / "concept-00003")


@pytest.mark.parametrize("stopped", range(8))
def test_names_that_are_exchanged_lose_nothing_where_it_is_stopped(folder, tmp_path, monkeypatch, drawings, stopped):
    out = drawn(folder, tmp_path, f"concepts: [3]\nvariants: {{a: {{}}, b: {{views: 2}}}}\n{QUICK}")
    drawings.clear()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\nvariants: {{b: {{}}, a: {{views: 2}}}}\n{QUICK}")
    plan = plan_recipe(ut.load(folder), read_render_recipe(recipe), tmp_path)
    steps, rename = iter(range(99)), rewrite_png

    def stops(*given):
        if next(steps) == stopped:
            raise KeyboardInterrupt
        rename(*given)

    monkeypatch.setattr("usae_viz.runs.manifest.rewrite_png", stops)
    with pytest.raises(KeyboardInterrupt):
        Manifest(out).adopt(plan.jobs)
    monkeypatch.undo()
    assert Manifest(out).adopt(plan.jobs) == [0, 1]
    left = {file.stem for file in (out / "concept-00003").glob("*.png")}
    assert left == {"sheet", *(f"{variant}-{backbone}" for variant in "ab" for backbone in ("left", "right"))}


def test_resume_goes_on_with_the_last_run_of_the_recipe(folder, tmp_path, monkeypatch, drawings):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"usae: {folder}\nconcepts: [3]\n{QUICK}")
    nothing = run("render", recipe, "--resume")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (1, 1)
    assert "no run of mine below outputs/ to resume" in nothing.stderr
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


@dataclass(frozen=True)
class Lonely(DistributedContext):
    """One of two processes, whose other one has died."""

    def compute_on_main(self, find):
        return find()

    def gather(self, value):
        return [value]

    def wait(self):
        pass


def test_the_share_of_a_process_that_died_is_drawn_by_the_next_run(folder, tmp_path, drawings):
    text = f"concepts: [3, 5]\nmodes: [per-model, shared]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    drawings.clear()
    recipe = tmp_path / "recipe.yaml"
    model = ut.load(folder)
    plan = plan_recipe(model, read_render_recipe(recipe), tmp_path)
    render_plan(model, plan, tmp_path / "run", execution=RenderExecution(ranks=Lonely(0, 2)))
    assert [objective for objective, _ in drawings] == ["Concept(3)", "Concept(5)"]
    drawings.clear()
    drawn(folder, tmp_path, text, "--resume")
    assert {(objective, settings.mode) for objective, settings in drawings} == {
        ("Concept(3)", "shared"),
        ("Concept(5)", "shared"),
    }
    assert contents(tmp_path / "run") == whole


def draw_in_a_process(words):
    os.environ["OMP_NUM_THREADS"] = "1"
    app(words, standalone_mode=False)


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_broken(folder, tmp_path):
    """kill -9, twenty times and more: what was finished stays as it is, and the end is as without."""
    text = f"concepts: 0-9\nmodes: [per-model, shared]\nseeds: [0, 1, 2]\n{QUICK}"
    whole = contents(drawn(folder, tmp_path, text, out="whole"))
    out, words = tmp_path / "run", ["render", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "-q"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["usae_viz.cli", "usae_viz.runs.render", "usae_viz.runs.show", "timm", "kornia"])
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
    assert len(records()) < 60, "the run was done before it was killed often enough"
    drawn(folder, tmp_path, text, "--resume")
    assert contents(out) == whole
    assert not list(out.rglob(".*"))
    for name, times in finished.items():
        assert (out / name).stat().st_mtime_ns == times


def verdicts(out):
    kept = json.loads((out / "concept-00003" / "scores.json").read_text())
    return {image: row["verdict"] for image, row in kept["images"].items()}, kept["thresholds"]


def test_other_thresholds_draw_nothing_and_give_the_verdicts_anew(folder, tmp_path, drawings):
    """Wherever they are read: scores.json, run.json, the sheet, and the explorer, which reads the PNGs."""
    lenient = "{rank: 12, percentile: 0, margin: 1, share: 0}"
    text = "concepts: [3]\nsettings: {steps: 1, views: 1, size: 32, verdict: VERDICT}\n"
    out = drawn(folder, tmp_path, text.replace("VERDICT", lenient))
    first, sheet = verdicts(out), (out / "concept-00003" / "sheet.png").read_bytes()
    drawings.clear()
    drawn(folder, tmp_path, text.replace("VERDICT", "{share: 1}"))
    assert drawings == []
    found, thresholds = verdicts(out)
    assert found == {"left": "failed", "right": "failed"}
    assert thresholds != first[1]
    assert thresholds["share"] == 1
    assert json.loads((out / "run.json").read_text())["verdicts"] == {"strong": 0, "weak": 0, "failed": 2}
    assert (out / "concept-00003" / "sheet.png").read_bytes() != sheet
    assert {picture.verdict for picture in read_run(out).objectives[0].pictures} == {"failed"}


def test_a_run_of_before_there_were_verdicts_gets_them_without_being_drawn_again(folder, tmp_path, drawings):
    text = f"concepts: [3]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    now = verdicts(out)
    for file in (out / "manifest").glob("*.json"):
        record = json.loads(file.read_text())
        for row in record["scores"].values():
            for own in row.values():
                del own["closer"]
        for name in record["names"]:
            png = out / "concept-00003" / f"{name}.png"
            rewrite_png(png, png, {"scores": {"fired": True, **of_before(read_png(png)["scores"])}})
            record["files"][png.name] = file_hash(png)
        file.write_text(json.dumps(record))
    scores = out / "concept-00003" / "scores.json"
    kept = json.loads(scores.read_text())
    scores.write_text(json.dumps({"concept": 3, "images": {}, "agreement": {}, "drawings": kept["drawings"]}))
    assert [picture.verdict for picture in read_run(out).objectives[0].pictures] == list(now[0].values())
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert drawings == []
    assert verdicts(out) == now


def of_before(scores):
    """A PNG's scores as they were."""
    figures = ("code", "rank", "share", "percentile", "others", "noise", "fires")
    backbones = {name: {key: own[key] for key in figures} for name, own in scores["backbones"].items()}
    return {"drawn_for": scores["drawn_for"], "backbones": backbones}


CUT = ["sheet.png", "scores.json", "a-left.gif", "a-left.png", "b-left.png"]


def test_every_file_of_a_run_that_is_cut_off_or_damaged_is_made_anew(usae, tmp_path):
    """A sheet was trusted by its name and what stands at its beginning."""
    recipe = {"concepts": [3], "variants": {"a": {}, "b": {"views": 2}}, "outputs": ["gif", "sheet"]}
    plan = plan_recipe(usae, RenderRecipe(**recipe, settings={"steps": 1, "views": 1, "size": 32}), tmp_path)
    render_plan(usae, plan, tmp_path / "run")
    before = contents(tmp_path / "run")
    for name in CUT:
        whole = (tmp_path / "run" / "concept-00003" / name).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-500] + whole[-499:]):
            (tmp_path / "run" / "concept-00003" / name).write_bytes(damaged)
            render_plan(usae, plan, tmp_path / "run")
            assert contents(tmp_path / "run") == before, name


def test_no_sheet_is_made_of_a_damaged_picture_that_is_yet_to_be_drawn(usae, tmp_path):
    """When the first of two damaged ones was drawn again, the sheet was made of the other, which ended the run."""
    recipe = {"concepts": [3], "variants": {"a": {}, "b": {"views": 2}}}
    plan = plan_recipe(usae, RenderRecipe(**recipe, settings={"steps": 1, "views": 1, "size": 32}), tmp_path)
    render_plan(usae, plan, tmp_path / "run")
    before = contents(tmp_path / "run")
    for variant in "ab":
        file = tmp_path / "run" / "concept-00003" / f"{variant}-left.png"
        file.write_bytes(file.read_bytes()[:-500])
    render_plan(usae, plan, tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_a_damaged_picture_is_not_shown_by_the_explorer(folder, tmp_path):
    out = drawn(folder, tmp_path, f"concepts: [3]\n{QUICK}")
    file = out / "concept-00003" / "left.png"
    file.write_bytes(file.read_bytes()[:-500])
    run_of_it = read_run(out)
    assert [picture.name for picture in run_of_it.objectives[0].pictures] == ["right"]
    assert run_of_it.unreadable[0].startswith(f"{file} is cut off or damaged: ")


def test_what_earlier_commands_drew_into_a_folder_stays_in_its_record(folder, tmp_path):
    """run.json named what the last command drew alone, beside pictures of others."""
    first, second = f"concepts: [3]\n{QUICK}", f"concepts: [5]\nmodes: [shared]\n{QUICK}"
    out = drawn(folder, tmp_path, first)
    alone = json.loads((out / "run.json").read_text())
    drawn(folder, tmp_path, second)
    both = json.loads((out / "run.json").read_text())
    assert (both["objectives"], alone["earlier"]) == (["Concept(5)"], [])
    assert both["pictures"] == [{"folders": ["concept-00005"], "names": ["shared"]}]
    assert both["earlier"] == [{key: value for key, value in alone.items() if key != "earlier"}]
    drawn(folder, tmp_path, second)
    assert json.loads((out / "run.json").read_text()) == both
    drawn(folder, tmp_path, first)
    turned = json.loads((out / "run.json").read_text())
    assert (turned["objectives"], [own["objectives"] for own in turned["earlier"]]) == (
        ["Concept(3)"],
        [["Concept(5)"]],
    )
    drawn(folder, tmp_path, first.replace("steps: 2", "steps: 3"))  # draws over the first
    over = json.loads((out / "run.json").read_text())
    assert [own["objectives"] for own in over["earlier"]] == [["Concept(5)"]]
    uv.maximize(ut.load(folder), uv.Concept(7), steps=1, views=1, size=32).save(out)
    last = json.loads((out / "run.json").read_text())
    assert [own["objectives"] for own in last["earlier"]] == [["Concept(3)"], ["Concept(5)"]]


def test_a_record_of_an_earlier_version_stays_while_nothing_else_draws_its_objectives(folder, tmp_path):
    out = drawn(folder, tmp_path, f"concepts: [3]\n{QUICK}")
    old = json.loads((out / "run.json").read_text())
    del old["earlier"], old["pictures"]
    (out / "run.json").write_text(json.dumps(old))
    drawn(folder, tmp_path, f"concepts: [5]\n{QUICK}")
    assert json.loads((out / "run.json").read_text())["earlier"] == [old]
    drawn(folder, tmp_path, f"concepts: [3]\nseeds: [4]\n{QUICK}")
    assert [own["objectives"] for own in json.loads((out / "run.json").read_text())["earlier"]] == [["Concept(5)"]]
