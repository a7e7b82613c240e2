"""Runs of recipes as they are drawn: how the work is divided, what the folder holds, what is said of it beforehand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from running_recipes import QUICK, contents, drawn, run

import usae_viz.runs.render
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_viz.commands.drawing_report import render_and_report
from usae_viz.export.png import read_png
from usae_viz.export.sheet import CELL, MARGIN, ROW
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe
from usae_viz.runs.render import RenderExecution, _packs


def test_the_work_is_divided_folder_by_folder_and_settings_by_settings(usae, tmp_path, monkeypatch):
    recipe = RenderRecipe(concepts=["0-4"], variants={"a": {}, "b": {"views": 2}}, settings={"size": 32})
    plan = plan_recipe(usae, recipe, tmp_path)  # drawings 0 and 1 of concept 0, 2 and 3 of 1, ...
    assert _packs(usae, plan, [2, 8, 9], SINGLE_PROCESS) == [[0], [1], [3], [4], [5], [6], [7]]
    monkeypatch.setattr(usae_viz.runs.render, "view_config_for", lambda *_: SimpleNamespace(batch_size=2))
    assert _packs(usae, plan, [2, 8, 9], SINGLE_PROCESS) == [[0], [1, 3], [4, 6], [5, 7]]
    assert _packs(usae, plan, [2, 8, 9], DistributedContext(0, 4)) == _packs(
        usae, plan, [2, 8, 9], DistributedContext(1, 4)
    )
    assert _packs(usae, plan, [2, 8, 9], DistributedContext(0, 4))[:2] == [[0], [1]]


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
        ("a", ["a-left", "a-right"]),
        ("b", ["b-shared"]),
    ]


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


def test_a_folder_with_brackets_in_its_name_is_told_as_it_is(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\nobjectives: [\"Channel('left', 2)\"]\n{QUICK}")
    for name in ("a[red]", "b[x"):
        done = run("render", recipe, "--out", tmp_path / name)
        assert f"{name}: 1 picture" in done.stdout
    done = run("render", recipe, "--out", tmp_path / "[" / "b]")
    assert "[/b]: 1 picture" in done.stdout


def test_a_dry_run_says_what_is_left_and_writes_nothing(folder, tmp_path):
    text = f"concepts: [3, 5]\nmodes: [per-model, shared]\n{QUICK}outputs: [gif]\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    done = run("render", recipe, "--out", tmp_path / "run", "--dry-run", "--workers", "2")
    assert done.exit_code == 0, done.stderr
    assert " by 2 processes on this CPU" in done.stdout
    assert "6 pictures to draw in 2 folders, 0 there already" in done.stdout
    assert list(tmp_path.iterdir()) == [recipe]
    drawn(folder, tmp_path, text.replace("[3, 5]", "[3]"))
    recipe.write_text(f"usae: {folder}\n{text}")
    before = contents(tmp_path / "run")
    left = json.loads(run("render", recipe, "--out", tmp_path / "run", "--dry-run", "--json").stdout)
    assert (left["pictures"], left["finished"], left["folders"]) == (3, 3, 1)
    assert [(part["mode"], part["kind"], part["pictures"]) for part in left["parts"]] == [
        ("per-model", "concept", 2),
        ("shared", "concept", 1),
    ]
    assert left["seconds"] == pytest.approx(sum(part["seconds"] for part in left["parts"]) / left["processes"])
    assert contents(tmp_path / "run") == before


def test_a_dry_run_knows_how_large_animations_become(folder, tmp_path):
    text = "concepts: [3]\nsettings: {steps: 48, views: 1, size: 32}\noutputs: [gif]\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    told = json.loads(run("render", recipe, "--out", tmp_path / "run", "--dry-run", "--json").stdout)["megabytes"]
    room = drawn(folder, tmp_path, text) / "concept-00003"
    really = sum(file.stat().st_size for file in room.iterdir() if file.suffix in (".png", ".gif")) / 1e6
    assert 0.5 * really < told < 2 * really  # with frames all alike it was a ninth


LOST = """calls = []
def lost(acts):
    calls.append(acts.backbone)
    return acts.tokens.mean((1, 2, 3)) * (float('nan') if len(calls) > 2 else 1.0)  # not in the first step
"""


def test_after_a_lost_score_the_next_objectives_are_drawn(folder, tmp_path, drawings):
    (tmp_path / "own_lost.py").write_text(LOST)
    text = f"concepts: [3]\nobjectives: ['own_lost:lost', Concept(5)]\n{QUICK}"
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\n{text}")
    out = tmp_path / "run"
    done = run("render", tmp_path / "recipe.yaml", "--out", out, "-q", "--allow-code")
    assert done.exit_code == 1
    assert done.stderr == (
        "own_lost:lost: the score through left is not finite at step 1; the best so far is kept\n"
        "error: the score became NaN or infinite in 1 of 3 folders, see above\n"
    )
    assert [objective for objective, _ in drawings] == ["Concept(3)", "own_lost:lost", "Concept(5)"]
    assert {room.name for room in out.glob("*-*")} == {"concept-00003", "objective-own-lost-lost", "concept-00005"}
    ended = {file.parent.name: read_png(file)["ended"] for file in out.glob("*/left.png")}
    assert [name for name, why in ended.items() if why is not None] == ["objective-own-lost-lost"]
    drawings.clear()
    run("render", tmp_path / "recipe.yaml", "--out", out, "-q", "--allow-code")
    assert [objective for objective, _ in drawings] == ["own_lost:lost"], "what is whole is not drawn again"


NOT_DRAWN = """
def late(acts):  # a score that is a number, and its gradient is not
    score = acts.tokens.mean((1, 2, 3))
    return score + (score - score.detach()).abs().sqrt()
def first(acts):
    return acts.tokens.mean((1, 2, 3)) * float('nan')
def flat(acts):
    return acts.tokens.detach().mean((1, 2, 3))
def wrong(acts):
    raise KeyError('wrong')
"""


def test_what_cannot_be_drawn_is_status_1_after_the_others_were_drawn(folder, tmp_path, monkeypatch):
    """Also when it is the last step that leaves no picture: `late` exited with 0, and a black picture."""
    monkeypatch.chdir(tmp_path)
    Path("own_none.py").write_text(NOT_DRAWN)
    names = [f"own_none:{name}" for name in ("late", "first", "flat", "wrong")]
    text = f"usae: {folder}\nobjectives: {[*names, 'Concept(5)']}\n"
    Path("recipe.yaml").write_text(text + "settings: {steps: 1, views: 1, size: 32}\n")
    done = run("render", "recipe.yaml", "--out", "run", "-q", "--allow-code")
    assert done.exit_code == 1
    late, first, flat, wrong, summary = done.stderr.splitlines()
    assert late == "own_none:late: the picture of left is not finite at step 1; the best so far is kept"
    assert first.startswith("error: the score through left is not finite at step 0; check the objective own_none:first")
    assert flat.startswith("error: objective own_none:flat does not depend on the picture: its score has no gradient")
    assert wrong.startswith("error: objective 'own_none:wrong' fails through left: own_none.py, line ")
    assert summary == "error: the score became NaN or infinite in 4 of 5 folders, see above"
    drawn = {file.parent.name for file in Path("run").glob("*/left.png")}
    assert drawn == {"objective-own-none-late", "concept-00005"}
    Path("recipe.yaml").write_text(f"usae: {folder}\nobjectives: ['{names[1]}']\n")
    alone = run("render", "recipe.yaml", "--out", "none", "--allow-code")
    assert (alone.exit_code, alone.stdout, alone.stderr.count("\n")) == (1, "", 1)
    assert not Path("none").exists()


def test_a_lost_score_is_told_of_where_another_variant_settled(folder, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        f"usae: {folder}\nconcepts: [3, 5]\nsettings: {{steps: 9, views: 1, size: 32, augmentation: none}}\n"
        "variants: {a: {patience: 2, learning_rate: 1.0e-30}, b: {learning_rate: 1.0e+37}}\n"
    )
    done = run("render", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "-q")
    assert done.exit_code == 1
    words = "the picture of left is not finite at step 1; the best so far is kept"
    assert done.stderr.splitlines()[:-1] == [f"Concept(3): {words}", f"Concept(5): {words}"]


@pytest.mark.slow
def test_two_processes_write_the_files_of_one_to_the_bit(folder, tmp_path):
    text = f"concepts: [3, 5, 7]\nmodes: [per-model, shared]\nseeds: [0, 1]\n{QUICK}outputs: [png, gif, sheet]\n"
    alone = contents(drawn(folder, tmp_path, text, out="alone"))
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "usae_viz", "render"]
    words += [str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(Path(usae_viz.__file__).parents[1])}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'two'}: 18 pictures" in done.stdout
    assert contents(tmp_path / "two") == alone


class Second(DistributedContext):
    """The second of two processes, without the first: what that one would say is found here."""

    def compute_on_main(self, of_the_first):
        return of_the_first()

    def gather(self, value):
        return [value]


def test_what_another_process_is_to_draw_again_is_not_this_ones_stop(usae, tmp_path):
    settings = {"size": 32, "steps": 3, "views": 1, "augmentation": "none"}
    plan = plan_recipe(usae, RenderRecipe(concepts=[3], seeds=[0, 1], settings=settings), tmp_path)
    out, steps = tmp_path / "run", []

    def interrupting(*told):
        steps.append(told)
        if len(steps) == 2:
            raise KeyboardInterrupt

    (stopped,) = usae_viz.runs.render.render_plan(usae, plan, out, interrupting)
    assert stopped.stopped
    assert {file.name for file in out.glob("*/*seed*.png")} == {"left-seed-0.png", "right-seed-0.png"}
    assert (
        usae_viz.runs.render.render_plan(usae, plan, out, execution=RenderExecution(ranks=Second(1, 2))) == []
    )  # seed 0 is the first process's
    assert len(list(out.glob("*/*seed*.png"))) == 4
    (whole,) = usae_viz.runs.render.render_plan(usae, plan, out)
    assert not whole.stopped


def test_only_the_first_process_tells_of_a_lost_score(usae, tmp_path, capsys):
    settings = {"size": 32, "steps": 3, "views": 1, "learning_rate": 1e37}
    plan = plan_recipe(usae, RenderRecipe(concepts=[3, 5], settings=settings), tmp_path)
    render_and_report(
        usae, plan, tmp_path / "run", quiet=True, as_json=False, execution=RenderExecution(ranks=Second(1, 2))
    )
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as caught:
        render_and_report(usae, plan, tmp_path / "run", quiet=True, as_json=False, execution=RenderExecution())
    assert caught.value.code == 1
    assert "error: the score became NaN or infinite in 2 of 2 folders" in capsys.readouterr().err
