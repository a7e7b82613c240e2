"""Runs that several processes draw: the same files as of one, Ctrl-C, lost scores, killed workers."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import usae_viz.runs.parallel_drawing as parallel_drawing
from usae_viz.explorer.page import explore
from usae_viz.objectives import Concept, objective
from usae_viz.optimization.maximize import draw_group
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.render import RenderExecution, render_plan
from usae_viz.settings import MaximizeSettings

QUICK = {"steps": 4, "views": 1, "size": 32}


def files_of(out: Path) -> dict[str, bytes]:
    return {
        file.relative_to(out).as_posix(): file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file() and file.name != "lock"
    }


def plan_of(usae, *objectives, **settings):
    runs = [MaximizeSettings(**{**QUICK, "mode": mode, **settings}) for mode in ("per-model", "shared")]
    return replace(plan_objectives(usae, list(objectives), runs), sheet=False)  # which takes longer than all else


@pytest.mark.parametrize("settings", [{"seeds": 2}, {"snapshots": 2, "patience": 2, "steps": 8}])
def test_files_are_the_same_to_the_byte_whatever_the_number_of_workers(usae, tmp_path, settings):
    plan = plan_of(usae, Concept(3), Concept(5), **settings)
    for workers in (1, 2, 5):
        render_plan(usae, plan, tmp_path / f"{workers}", execution=RenderExecution(workers=workers))
    assert files_of(tmp_path / "2") == files_of(tmp_path / "1")
    assert files_of(tmp_path / "5") == files_of(tmp_path / "1")  # drawings apart, picture by picture


def test_one_objective_is_drawn_by_several_and_one_picture_by_none(usae, tmp_path, monkeypatch):
    begun, really = [], parallel_drawing.Workers._start_worker
    monkeypatch.setattr(parallel_drawing.Workers, "_start_worker", lambda self: begun.append(self) or really(self))
    for number, (target, workers) in enumerate([(Concept(3), 4), (Concept(3, backbone="left"), 4), (Concept(5), 1)]):
        plan = plan_objectives(usae, [target], [MaximizeSettings(**QUICK)])
        render_plan(usae, plan, tmp_path / f"{number}", execution=RenderExecution(workers=workers))
        assert len(begun) == 2, target


@objective
def lost_in_right(acts):
    return acts.tokens.mean((1, 2, 3)) * (float("nan") if acts.backbone == "right" else 1.0)


def late(number):
    @objective
    def lost_later(acts):
        score = acts.tokens.mean((1, 2, 3))
        return score * float("nan") if acts.backbone == "right" and acts.canvas.std() > number else score

    return lost_later


def test_a_lost_score_ends_its_objective_as_in_one_process(usae, tmp_path):
    plan = plan_objectives(usae, [lost_in_right, Concept(5), late(0.2)], [MaximizeSettings(**QUICK)])
    plan = replace(plan, sheet=False)
    drawn = {
        workers: render_plan(usae, plan, tmp_path / f"{workers}", execution=RenderExecution(workers=workers))
        for workers in (1, 2, 6)
    }
    said = {workers: [(own.images, own.ended, own.failed) for own in found] for workers, found in drawn.items()}
    assert said[2] == said[1]
    assert said[6] == said[1]
    assert files_of(tmp_path / "6") == files_of(tmp_path / "1")


def test_ctrl_c_keeps_what_every_worker_has(usae, tmp_path):
    plan = plan_of(usae, Concept(3), Concept(5), Concept(7), steps=400)
    steps = []

    def report(stage, *_):
        steps.append(stage)
        if len(set(steps)) == 2 and len(steps) > 8 and not any(tmp_path.glob("run/*/*.png")):
            os.kill(os.getpid(), signal.SIGINT)
            steps.extend(["told"] * 2)

    drawn = render_plan(usae, plan, tmp_path / "run", report, execution=RenderExecution(workers=2))
    assert [own.stopped for own in drawn] == [True]
    assert "stopped by hand after" in drawn[0].ended
    assert sorted(file.name for file in tmp_path.glob("run/concept-*/*.png")) == ["left.png", "right.png", "shared.png"]


def test_a_killed_worker_costs_its_picture_alone(usae, tmp_path, monkeypatch):
    plan = plan_of(usae, Concept(3), Concept(5))
    render_plan(usae, plan, tmp_path / "alone")
    drawn = tmp_path / "drawn"

    def fatal(usae, target, settings, rows, progress):
        with drawn.open("a") as file:
            file.write(f"{target} {settings.mode}\n")
        if drawn.read_text().count(f"{target} {settings.mode}\n") == 1 and settings.mode == "shared":
            os.kill(os.getpid(), signal.SIGKILL)
        return draw_group(usae, target, settings, rows, progress)

    monkeypatch.setattr(parallel_drawing, "draw_group", fatal)
    render_plan(usae, plan, tmp_path / "run", execution=RenderExecution(workers=2))
    assert files_of(tmp_path / "run") == files_of(tmp_path / "alone")
    assert sorted(drawn.read_text().split("\n")) == [
        "",
        *sorted([f"Concept({n}) {mode}" for n in (3, 5) for mode in ("per-model", "shared", "shared")]),
    ]


def test_twenty_killed_workers_cost_nothing(usae, tmp_path, monkeypatch):
    plan = plan_of(usae, *map(Concept, range(1, 11)))
    render_plan(usae, plan, tmp_path / "alone")
    killed = tmp_path / "killed"
    killed.mkdir()

    def fatal(usae, target, settings, rows, progress):
        def at_a_step(done, scores):
            progress(done, scores)
            name = killed / f"{target} {settings.mode} {rows.start}"
            if len(list(killed.iterdir())) < 20 and not name.exists():
                name.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return draw_group(usae, target, settings, rows, at_a_step)

    monkeypatch.setattr(parallel_drawing, "draw_group", fatal)
    render_plan(usae, plan, tmp_path / "run", execution=RenderExecution(workers=2))
    assert len(list(killed.iterdir())) == 20
    assert files_of(tmp_path / "run") == files_of(tmp_path / "alone")


def test_more_workers_than_the_memory_bears_are_refused_and_nothing_is_written(usae, tmp_path, monkeypatch):
    monkeypatch.setattr("usae_train.runtime.capacity.free_memory", lambda: int(1e9))
    with pytest.raises(ValueError, match=r"--workers is 999: each takes about .* GB are free; expected at most \d"):
        render_plan(usae, plan_of(usae, Concept(3)), tmp_path / "run", execution=RenderExecution(workers=999))
    assert not (tmp_path / "run").exists()


def test_a_page_is_the_same_whatever_the_number_of_workers(usae, tmp_path, monkeypatch):
    monkeypatch.setattr("usae_viz.explorer.patches.PATCH_BATCH", 4)
    usae.natural = _natural(usae, tmp_path / "pictures")
    try:
        sources = open_sources_of(usae)
        for workers in (1, 3):
            missing = explore(sources, tmp_path / f"{workers}", workers=workers)
            assert len(missing) == 1
            assert "1 picture with top-activating patches could not be read" in missing[0]
    finally:
        usae.natural = None
    assert files_of(tmp_path / "3") == files_of(tmp_path / "1")


def open_sources_of(usae):
    from usae_viz.explorer.sources import Card, Sources

    return Sources(usae, [], [Card(concept, f"Concept({concept})", []) for concept in range(usae.n_concepts)])


def _natural(usae, folder):
    from usae_train.images.sources import open_images
    from usae_train.model.natural import NaturalPictures
    from usae_viz.export.png import to_picture

    folder.mkdir()
    for number, picture in enumerate(torch.rand(24, 3, 48, 48, generator=torch.Generator().manual_seed(0))):
        to_picture(picture).save(folder / f"{number:02d}.png")
    found = usae.statistics
    source = open_images(folder)
    (folder / "03.png").write_bytes(b"no picture")
    return NaturalPictures(source, found.top_images, found.top_tokens, found.quantiles[..., -1])
