"""Situations of which users of such programs complain in public: SAE training, feature visualization, timm, datasets.

Each is a function of the small world and a folder of its own, with an assertion.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_world import SMALL, World, make_pictures, run_cli, train, viz
from typer.testing import CliRunner

import usae_train as ut
from usae_train.cli import app as train_app
from usae_train.files.holding import held
from usae_train.pictures.images import open_images, read_picture
from usae_train.tokens.store import ActivationStore
from usae_train.training.settings import DEFAULT, FitSettings
from usae_viz.cli import app as viz_app

Situation = Callable[[World, Path], None]
SITUATIONS: list[Situation] = []


def situation(function: Situation) -> Situation:
    """Add one to the list."""
    SITUATIONS.append(function)
    return function


def done(app: object, *words: object, status: int = 0, text: str = "") -> str:
    """Run a command in this process; its status, one line where it fails, and a text in what it says."""
    result = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    said = result.stdout + result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, said
    if status == 1:
        assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1, said
    assert text in " ".join(said.split()), said
    return said


def extract(world: World, pictures: Path, out: Path, *words: object, **expected: object) -> str:
    """`usae-train extract` through the world's two backbones."""
    return done(train_app, "extract", pictures, "--backbones", world.room / "specs.yaml", "-o", out, *words, **expected)  # type: ignore[arg-type]


def fit(world: World, out: Path, *words: object, **expected: object) -> str:
    """`usae-train fit` on the world's store."""
    store = world.room / "base" / "store"
    return done(train_app, "fit", store, "-o", out, *SMALL, "--steps", 4, *words, **expected)  # type: ignore[arg-type]


def maximize(world: World, out: Path, *words: object, **expected: object) -> str:
    """`usae-viz maximize` with the world's USAE."""
    small = ["--steps", 1, "--size", 16, "--crops", 1]
    return done(viz_app, "maximize", "--usae", world.room / "base" / "usae", *small, "-o", out, *words, **expected)  # type: ignore[arg-type]


def pictures_of(room: Path, *pictures: Image.Image, ending: str = "png") -> Path:
    """A folder of some pictures."""
    (room / "pictures").mkdir(parents=True)
    for number, picture in enumerate(pictures):
        picture.save(room / "pictures" / f"{number}.{ending}")
    return room / "pictures"


@situation
def pictures_in_grey_palette_cmyk_and_with_alpha(world: World, room: Path) -> None:
    noise = Image.effect_noise((24, 24), 50)
    folder = pictures_of(room, *(noise.convert("RGB").convert(mode) for mode in ("L", "P", "RGBA", "LA", "1")))
    noise.convert("RGB").convert("CMYK").save(folder / "cmyk.jpg")
    extract(world, folder, room / "store")
    assert len(ActivationStore(room / "store")) == 6


@situation
def a_picture_that_exif_says_is_turned(world: World, room: Path) -> None:  # noqa: ARG001
    upright = Image.new("RGB", (20, 20), "black")
    upright.paste((255, 0, 0), (0, 0, 20, 10))  # red above
    exif = Image.Exif()
    exif[0x0112] = 3  # half a turn
    room.joinpath("p").mkdir()
    upright.rotate(180).save(room / "p" / "turned.png", exif=exif)
    seen = read_picture(room / "p" / "turned.png", 20)
    assert seen[0, 2].mean() > 0.9
    assert seen[0, -2].mean() < 0.1


@situation
def sixteen_bits_a_pixel_are_not_white(world: World, room: Path) -> None:  # noqa: ARG001
    Image.new("I;16", (16, 16), 32768).save(room / "deep.png")
    assert abs(read_picture(room / "deep.png", 16).mean().item() - 0.5) < 0.01


@situation
def an_empty_folder(world: World, room: Path) -> None:
    (room / "pictures").mkdir()
    extract(world, room / "pictures", room / "store", status=1, text="no pictures in")


@situation
def a_folder_that_is_not_there(world: World, room: Path) -> None:
    extract(world, room / "pictures", room / "store", status=1, text="no folder")


@situation
def one_picture_is_enough_to_extract_and_fit(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 1)
    done(train_app, "fit", folder, "--backbones", world.room / "specs.yaml", "-o", room / "usae", *SMALL, "--steps", 2)
    assert ut.load(room / "usae").statistics is not None


@situation
def a_batch_of_one_token(world: World, room: Path) -> None:
    fit(world, room / "usae", "--batch", 1)
    fit(world, room / "other", "--batch", 1, "--recipe", "published", status=1, text="expected 2 tokens or more")


@situation
def a_batch_larger_than_all_tokens(world: World, room: Path) -> None:
    fit(world, room / "usae", "--batch", 5000)


@situation
def k_larger_than_the_space(world: World, room: Path) -> None:
    fit(world, room / "usae", "-k", 9, status=1, text="expected k <= n_concepts")
    assert not (room / "usae").exists()


@situation
def fewer_concepts_than_features(world: World, room: Path) -> None:
    fit(world, room / "usae", "--n-concepts", 3)
    assert ut.load(room / "usae").n_concepts == 3


@situation
def k_as_large_as_the_space(world: World, room: Path) -> None:
    fit(world, room / "usae", "-k", 8)


@situation
def zero_and_negative_steps(world: World, room: Path) -> None:
    for steps in (0, -3):
        fit(world, room / "usae", "--steps", steps, status=1, text="steps")
    maximize(world, room / "run", "-c", 0, "--steps", 0, status=1, text="steps")


@situation
def seeds_beyond_32_and_64_bits(world: World, room: Path) -> None:
    fit(world, room / "usae", "--seed", 2**33)
    fit(world, room / "other", "--seed", 2**64, status=1, text="seed")
    maximize(world, room / "run", "-c", 0, "--seed", 2**32, status=1, text="seed")


@situation
def a_usae_whose_weights_are_not_numbers(world: World, room: Path) -> None:
    shutil.copytree(world.room / "base" / "usae", room / "usae")
    tensors = load_file(room / "usae" / "model.safetensors")
    tensors["encoders.left.linear.bias"][0] = torch.nan
    save_file(tensors, room / "usae" / "model.safetensors")
    done(viz_app, "concepts", "--usae", room / "usae", status=1, text="NaN or infinite")


@situation
def a_backbone_that_gives_no_numbers(world: World, room: Path) -> None:
    specs = json.loads((world.room / "specs.yaml").read_text())
    from usae_train.backbones.backbone import Backbone, BackboneSpec

    weights = Backbone("left", BackboneSpec(**specs["left"])).model.state_dict()
    save_file({name: torch.full_like(own, torch.nan) for name, own in weights.items()}, room / "dead.safetensors")
    specs["left"]["weights"] = "dead.safetensors"
    (room / "specs.yaml").write_text(json.dumps(specs))
    words = ["fit", world.room / "pictures", "--backbones", room / "specs.yaml", "-o", room / "usae", *SMALL]
    done(train_app, *words, "--steps", 2, status=1, text="NaN or infinite; check the backbone's weights")


@situation
def only_black_pictures(world: World, room: Path) -> None:
    folder = pictures_of(room, *[Image.new("RGB", (24, 24))] * 4)
    done(train_app, "fit", folder, "--backbones", world.room / "specs.yaml", "-o", room / "usae", *SMALL, "--steps", 2)
    done(train_app, "evaluate", room / "usae", folder, "-o", room / "report")


@situation
def tokens_that_are_all_the_same(world: World, room: Path) -> None:  # noqa: ARG001
    usae = ut.fit({"a": torch.ones(64, 5), "b": torch.ones(64, 7)}, n_concepts=4, k=2, steps=3, batch=16)
    assert all(own.isfinite().all() for own in usae.state_dict().values())


@situation
def tokens_in_half_and_double_precision(world: World, room: Path) -> None:  # noqa: ARG001
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        ut.fit({"a": torch.randn(64, 5).to(dtype), "b": torch.randn(64, 7)}, n_concepts=4, k=2, steps=2, batch=16)


@situation
def a_store_in_each_precision(world: World, room: Path) -> None:
    for dtype in ("float16", "float32"):
        extract(world, world.room / "pictures", room / dtype, "--dtype", dtype)
        done(train_app, "fit", room / dtype, "-o", room / f"usae-{dtype}", *SMALL, "--steps", 2)


@situation
def a_resume_with_other_settings(world: World, room: Path) -> None:
    process = subprocess.Popen(
        train("fit", world.room / "base" / "store", "-o", room / "usae", *SMALL, "--steps", 100000, "--every", 0, "-q")
    )
    while process.poll() is None and not list((room / ".usae.training").glob("step-*.pt")):
        pass
    process.kill()
    process.wait()
    fit(world, room / "usae", status=1, text="give --resume to go on, or remove it")
    fit(world, room / "usae", "--resume", "-k", 3, status=1, text="was begun with another k, steps")


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
    with held(room / "usae"):
        other = run_cli(train("fit", world.room / "base" / "store", "-o", room / "usae", *SMALL), room)
    assert other.returncode == 1
    assert "is being written by another process" in other.stderr


@situation
def a_folder_that_is_full_of_something_else(world: World, room: Path) -> None:
    (room / "usae").mkdir()
    (room / "usae" / "thesis.txt").write_text("mine")
    fit(world, room / "usae", status=1, text="exists already")
    extract(world, world.room / "pictures", room / "usae", status=1, text="is no store")
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
    fixture = Path(__file__).parent / "usae_train" / "fixtures" / "published_checkpoint"
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
def pictures_that_are_long_and_narrow_or_of_one_pixel(world: World, room: Path) -> None:
    folder = pictures_of(room, *(Image.new("RGB", size, "red") for size in ((400, 3), (3, 400), (1, 1), (2, 1))))
    extract(world, folder, room / "store")
    assert len(ActivationStore(room / "store")) == 4


@situation
def a_canvas_that_is_too_small_or_too_large(world: World, room: Path) -> None:
    for size in (1, 15, 10**6):
        maximize(world, room / "run", "-c", 0, "--size", size, status=1, text="size")


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
        fit(world, room / "usae", "--wandb", "project", status=1, text='pip install "usae[tracking]"')
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
        assert "Traceback" not in process.stderr.read()
    assert world.room.is_dir()


@situation
def no_home_and_no_cache(world: World, room: Path) -> None:
    there = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    run = run_cli(viz("concepts", "--usae", world.room / "base" / "usae"), room, env={**there, "HOME": "/nowhere"})
    assert run.returncode == 0, run.stderr


@situation
def a_home_of_nobody(world: World, room: Path) -> None:
    extract(world, Path("~nobody-here/pictures"), room / "store", status=1, text="knows no home of")
    done(viz_app, "concepts", "--usae", "~nobody-here/usae", status=1, text="knows no home of")
    done(viz_app, "explore", "~nobody-here/run", "-o", room / "page", status=1, text="knows no home of")


@situation
def a_model_that_timm_does_not_know(world: World, room: Path) -> None:
    words = ["extract", world.room / "pictures", "-o", room / "store", "--backbones", "vit_bsae_patch16_224"]
    done(train_app, *words, status=1, text="vit_base_patch16_224")


@situation
def a_spec_with_a_key_that_is_misspelt(world: World, room: Path) -> None:
    (room / "specs.yaml").write_text("left:\n  model: vit_tiny_patch16_224\n  wieghts: random\n")
    words = ["extract", world.room / "pictures", "-o", room / "store", "--backbones", room / "specs.yaml"]
    done(train_app, *words, status=1, text="specs.yaml:3: unknown key 'left.wieghts'; did you mean 'weights'?")


@situation
def weights_that_are_cut_short(world: World, room: Path) -> None:
    (room / "left.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    (room / "specs.yaml").write_text("left: {model: vit_tiny_patch16_224, weights: left.safetensors}\n")
    words = ["extract", world.room / "pictures", "-o", room / "store", "--backbones", room / "specs.yaml"]
    done(train_app, *words, status=1, text="left.safetensors")


@situation
def a_learning_rate_that_is_too_large(world: World, room: Path) -> None:  # noqa: ARG001
    recipe = DEFAULT.model_copy(update={"learning_rate": 1e30})
    tokens = {"a": torch.randn(64, 5), "b": torch.randn(64, 7)}
    try:
        ut.fit(tokens, n_concepts=4, k=2, steps=20, batch=16, recipe=recipe)
    except ValueError as error:
        assert "learning_rate" in str(error)  # noqa: PT017
    else:
        raise AssertionError("it went through")


@situation
def tokens_with_a_nan_are_named(world: World, room: Path) -> None:  # noqa: ARG001
    tokens = {"a": torch.randn(64, 5), "b": torch.randn(64, 7)}
    tokens["b"][7, 3] = torch.inf
    try:
        ut.fit(tokens, n_concepts=4, k=2, steps=2, batch=16)
    except ValueError as error:
        assert str(error).startswith("b: some tokens are NaN or infinite")  # noqa: PT017
    else:
        raise AssertionError("it went through")


@situation
def one_broken_picture_among_many(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 12)
    (folder / "03.png").write_bytes(b"broken")
    extract(world, folder, room / "store", status=1, text="allow more with --max-broken")
    extract(world, folder, room / "store", "--max-broken", 0.5)
    assert len(ActivationStore(room / "store")) == 11


@situation
def an_extraction_that_is_given_again(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 3)
    extract(world, folder, room / "store")
    extract(world, folder, room / "store", status=1, text="is a finished store, which is never changed")


@situation
def pictures_that_change_between_two_extractions(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 6)
    extract(world, folder, room / "store")
    record = json.loads((room / "store" / "store.json").read_text())
    (room / "store" / "store.json").write_text(json.dumps({**record, "complete": False}))
    make_pictures(room / "more", 9)
    shutil.copy(room / "more" / "08.png", folder / "08.png")
    extract(world, folder, room / "store", status=1, text="was begun with another fingerprint, n_images")


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
