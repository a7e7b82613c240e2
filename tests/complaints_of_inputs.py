"""Situations of which users of such programs complain in public: pictures, tokens, settings and weights.

Each is a function of the small world and a folder of its own, with an assertion.
"""

import json
import shutil
import subprocess
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from situations import done, extract, fit, maximize, pictures_of, situation
from small_world import SMALL, World, make_pictures, train

import usae_train as ut
from usae_train.cli import app as train_app
from usae_train.images.sources import read_picture
from usae_train.tokens.store import ActivationStore
from usae_train.training.settings import DEFAULT
from usae_viz.cli import app as viz_app


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
    picture = read_picture(room / "p" / "turned.png", 20)
    assert picture[0, 2].mean() > 0.9
    assert picture[0, -2].mean() < 0.1


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
    fit(world, room / "other", "--batch", 1, "--recipe", "published", status=2, text="expected 2 tokens or more")


@situation
def a_batch_larger_than_all_tokens(world: World, room: Path) -> None:
    fit(world, room / "usae", "--batch", 5000)


@situation
def k_larger_than_the_space(world: World, room: Path) -> None:
    fit(world, room / "usae", "-k", 9, status=2, text="expected k <= n_concepts")
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
        fit(world, room / "usae", "--steps", steps, status=2, text="steps")
    maximize(world, room / "run", "-c", 0, "--steps", 0, status=2, text="steps")


@situation
def seeds_beyond_32_and_64_bits(world: World, room: Path) -> None:
    fit(world, room / "usae", "--seed", 2**33)
    fit(world, room / "other", "--seed", 2**64, status=2, text="seed")
    maximize(world, room / "run", "-c", 0, "--seed", 2**32, status=2, text="seed")


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
    save_file({name: torch.full_like(weight, torch.nan) for name, weight in weights.items()}, room / "dead.safetensors")
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
    assert all(tensor.isfinite().all() for tensor in usae.state_dict().values())


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
        train(
            "fit",
            world.room / "base" / "store",
            "-o",
            room / "usae",
            *SMALL,
            "--steps",
            100000,
            "--checkpoint-minutes",
            0,
            "-q",
        )
    )
    while process.poll() is None and not list((room / ".usae.training").glob("step-*.pt")):
        pass
    process.kill()
    process.wait()
    fit(world, room / "usae", status=1, text="give --resume to continue it, or remove it")
    fit(world, room / "usae", "--resume", "-k", 3, status=1, text="was begun with another k, steps")


@situation
def pictures_that_are_long_and_narrow_or_of_one_pixel(world: World, room: Path) -> None:
    folder = pictures_of(room, *(Image.new("RGB", size, "red") for size in ((400, 3), (3, 400), (1, 1), (2, 1))))
    extract(world, folder, room / "store")
    assert len(ActivationStore(room / "store")) == 4


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
def pictures_that_change_between_two_extractions(world: World, room: Path) -> None:
    folder = make_pictures(room / "pictures", 6)
    extract(world, folder, room / "store")
    record = json.loads((room / "store" / "store.json").read_text())
    (room / "store" / "store.json").write_text(json.dumps({**record, "complete": False}))
    make_pictures(room / "more", 9)
    shutil.copy(room / "more" / "08.png", folder / "08.png")
    extract(world, folder, room / "store", status=1, text="was begun with another fingerprint, n_images")
