"""Situations of which users of such programs complain in public: places, machines, terminals, and runs given again.

Each is a function of the small world and a folder of its own, with an assertion.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from situations import done, extract, fit, maximize, situation
from small_world import SMALL, World, make_pictures, run_cli, train, viz

import usae_train as ut
from usae_train.cli import app as train_app
from usae_train.files.locks import folder_lock
from usae_train.files.provenance import install_command
from usae_train.images.sources import open_images
from usae_train.training.settings import FitSettings
from usae_viz.cli import app as viz_app


@situation
def places_with_spaces_and_other_scripts(world: World, room: Path) -> None:
    folder = make_pictures(room / "Bilder für мама 画像", 3)
    (folder / "00.png").rename(folder / "ein Bild, größer – 画.png")
    extract(world, folder, room / "ein Speicher")
    done(train_app, "fit", room / "ein Speicher", "-o", room / "ü 画", *SMALL, "--steps", 2)
    done(viz_app, "explore", room / "ü 画", "-o", room / "Seite ö")
    assert (room / "Seite ö" / "index.html").is_file()


@situation
def a_place_that_cannot_be_written(world: World, room: Path) -> None:
    (room / "file").write_text("")
    extract(world, world.room / "pictures", room / "file" / "store", status=1, text="file")
    fit(world, room / "file" / "usae", status=1, text="file")
    maximize(world, room / "file" / "run", "-c", 0, status=1, text="file")


@situation
def a_run_from_another_folder(world: World, room: Path) -> None:
    os.symlink(world.room / "pictures", room / "pictures")
    specs = os.path.relpath(world.room / "specs.yaml", room)
    for out in ("store", "../a_run_from_another_folder/other"):
        run = run_cli(train("extract", "pictures", "--backbones", specs, "-o", out, "-q"), room)
        assert run.returncode == 0, run.stderr
    again = run_cli(train("fit", "../a_run_from_another_folder/store", "-o", "usae", "--steps", 2, *SMALL), room)
    assert again.returncode == 0, again.stderr


@situation
def pictures_that_are_gone_after_extraction(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 4)
    extract(world, folder, room / "store")
    shutil.rmtree(folder)
    done(train_app, "fit", room / "store", "-o", room / "usae", *SMALL, "--steps", 2)
    done(viz_app, "explore", room / "usae", "-o", room / "page")


@situation
def two_processes_in_one_folder(world: World, room: Path) -> None:
    with folder_lock(room / "usae"):
        other = run_cli(train("fit", world.room / "base" / "store", "-o", room / "usae", *SMALL), room)
    assert other.returncode == 1
    assert "is being written by another process" in other.stderr


@situation
def a_folder_that_is_full_of_something_else(world: World, room: Path) -> None:
    (room / "usae").mkdir()
    (room / "usae" / "thesis.txt").write_text("mine")
    fit(world, room / "usae", status=1, text="exists already")
    extract(world, world.room / "pictures", room / "usae", status=1, text="is not a store")
    assert (room / "usae" / "thesis.txt").read_text() == "mine"


@situation
def a_disk_that_fills_while_a_usae_is_saved(world: World, room: Path) -> None:
    from usae_train.files import atomic

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    replace = atomic.os.replace
    try:
        atomic.os.replace = full  # type: ignore[assignment]
        done(train_app, "import-published", _release(room), "-o", room / "usae", status=1, text="No space left")
    finally:
        atomic.os.replace = replace
    assert not (room / "usae").exists()
    assert world.room.is_dir()


def _release(room: Path) -> Path:
    fixture = Path(__file__).parent / "train" / "fixtures" / "published_checkpoint"
    shutil.copytree(fixture, room / "release")
    return room / "release" / "config.yaml"


@situation
def a_link_out_of_a_run(world: World, room: Path) -> None:
    (room / "elsewhere").mkdir()
    (room / "run").mkdir()
    os.symlink(room / "elsewhere", room / "run" / "concept-00000")
    maximize(world, room / "run", "-c", 0, status=1, text="leads out of")
    assert not list((room / "elsewhere").iterdir())


@situation
def a_canvas_that_is_too_small_or_too_large(world: World, room: Path) -> None:
    for size in (1, 15, 10**6):
        maximize(world, room / "run", "-c", 0, "--size", size, status=2, text="size")


@situation
def a_concept_that_is_not_there(world: World, room: Path) -> None:
    for concept, text in (("8", "no concept 8"), ("-1", "no concept -1"), ("cat", "cat"), ("top:99", "top:")):
        maximize(world, room / "run", f"--concept={concept}", status=1, text=text)


@situation
def a_concept_that_never_fires_is_drawn_all_the_same(world: World, room: Path) -> None:
    statistics = ut.load(world.room / "base" / "usae").statistics
    assert statistics is not None
    maximize(world, room / "run", "-c", int(statistics.fires.sum(0).argmin()))


@situation
def a_gpu_that_is_not_there(world: World, room: Path) -> None:
    maximize(world, room / "run", "-c", 0, "--device", "cuda:77", status=1, text="no device 'cuda:77' here")
    fit(world, room / "usae", "--device", "tpu", status=1, text="no device 'tpu' here")


@situation
def a_tracking_library_that_is_missing(world: World, room: Path) -> None:
    before = sys.modules.get("wandb")
    sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        fit(world, room / "usae", "--wandb", "project", status=1, text=install_command("tracking"))
    finally:
        sys.modules.pop("wandb")
        if before is not None:
            sys.modules["wandb"] = before


@situation
def a_terminal_of_twenty_columns_without_colour(world: World, room: Path) -> None:
    there = {**os.environ, "COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb"}
    run = run_cli(viz("concepts", "--usae", world.room / "base" / "usae"), room, env=there)
    assert run.returncode == 0, run.stderr
    assert "\x1b" not in run.stdout


@situation
def the_locale_c(world: World, room: Path) -> None:
    there = {**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = run_cli(viz("concepts", "--usae", world.room / "base" / "usae"), room, env=there)
    assert run.returncode == 0, run.stderr
    fitted = train("fit", world.room / "base" / "store", "-o", room / "usae", "--steps", 2, *SMALL)
    run = run_cli(fitted, room, env=there)
    assert run.returncode == 0, run.stderr


@situation
def a_reader_that_goes_away(world: World, room: Path) -> None:
    words = viz("concepts", "--usae", "demo", "--json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=room, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "bug in usae" not in said
    assert world.room.is_dir()


@situation
def no_home_and_no_cache(world: World, room: Path) -> None:
    there = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    run = run_cli(viz("concepts", "--usae", world.room / "base" / "usae"), room, env={**there, "HOME": "/nowhere"})
    assert run.returncode == 0, run.stderr


@situation
def a_home_of_nobody(world: World, room: Path) -> None:
    extract(world, Path("~nobody-here/pictures"), room / "store", status=1, text="has no home directory of")
    done(viz_app, "concepts", "--usae", "~nobody-here/usae", status=1, text="has no home directory of")
    done(viz_app, "explore", "~nobody-here/run", "-o", room / "page", status=1, text="has no home directory of")


@situation
def an_extraction_that_is_given_again(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 3)
    extract(world, folder, room / "store")
    extract(world, folder, room / "store", status=1, text="is a finished store, which is never changed")


@situation
def the_same_seed_draws_the_same_picture(world: World, room: Path) -> None:
    for name in ("one", "two"):
        maximize(world, room / name, "-c", 0, "--seed", 5)
    one, two = (open_images(room / name / "concept-00000") for name in ("one", "two"))
    assert all(torch.equal(one.read(n, 16), two.read(n, 16)) for n in range(len(one)))


@situation
def settings_of_a_version_to_come(world: World, room: Path) -> None:
    shutil.copytree(world.room / "base" / "usae", room / "usae")
    config = json.loads((room / "usae" / "config.json").read_text())
    (room / "usae" / "config.json").write_text(json.dumps({**config, "schema": 99}))
    done(viz_app, "concepts", "--usae", room / "usae", status=1, text="install a matching usae version")
    assert FitSettings().steps > 0
