import copy
import shutil

import pytest
import torch
from PIL import Image

import usae_train as ut
import usae_viz as uv
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import open_images
from usae_viz.explorer.page import address
from usae_viz.export.png import read_png, rewrite_png, to_picture, write_png
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.render import render_plan

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="session")
def usae_folder(usae, tmp_path_factory):
    """The tiny USAE, saved, with the pictures that its statistics were measured on and a hostile label."""
    place = tmp_path_factory.mktemp("explored")
    pictures = torch.rand(24, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    (place / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        to_picture(picture).save(place / "pictures" / f"{number:02d} <b>&#.png")
    with_pictures = copy.copy(usae)
    source = open_images(place / "pictures")
    with_pictures.measured_on = SourceRecord.of(source)
    with_pictures.factors = [f"colour: {HOSTILE}", "texture: dots"]
    areas = torch.full((2, 2, 12), 0.5)
    areas[:, 0] = 0.4
    areas[:, 0, 3], areas[:, 1, 5] = 0.97, 0.95
    with_pictures.statistics = type(usae.statistics)(**{**vars(usae.statistics), "auroc": areas})
    return str(ut.save(with_pictures, place / "tiny"))


@pytest.fixture(scope="session")
def run_folder(usae_folder, tmp_path_factory):
    """Concepts 3 and 5 in two modes, and a difference; of 5's pictures the one for left failed, right's is weak."""
    place = tmp_path_factory.mktemp("runs") / "first"
    objectives = [uv.Concept(3), uv.Concept(5), uv.Concept(3) - uv.Concept(5)]
    runs = [uv.MaximizeSettings(steps=2, views=1, size=32, mode=mode) for mode in ("per-model", "shared")]
    model = ut.load(usae_folder)
    render_plan(model, plan_objectives(model, objectives, runs), place)
    for file in place.glob("*/*.png"):  # two steps of a toy come to no verdict that a test can rely on
        if file.name == "sheet.png":
            continue
        scores = read_png(file)["scores"]
        for own in scores["backbones"].values():
            own.update(code=max(own["code"], 0.01), rank=1, percentile=99.5, share=0.5, noise=0.0)
        rewrite_png(file, file, {"scores": scores})
    failed = place / "concept-00005" / "left.png"
    inside = read_png(failed)
    inside["scores"]["backbones"]["left"]["share"] = 0.0
    write_png(failed, torch.zeros(3, 32, 32), inside)
    weak = place / "concept-00005" / "right.png"
    scores = read_png(weak)["scores"]
    scores["backbones"]["right"]["rank"] = 7
    rewrite_png(weak, weak, {"scores": scores})
    return place


@pytest.fixture(scope="session")
def hostile():
    """A label that would run, if a page took it for more than text."""
    return HOSTILE


@pytest.fixture
def run_copy(run_folder, tmp_path):
    """A run that a test may spoil."""
    return shutil.copytree(run_folder, tmp_path / "first")


@pytest.fixture
def visit(chromium):
    """Open a page of a folder without a network; what goes wrong in it fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True, accept_downloads=True)
    context.set_default_timeout(60_000)
    wrong: list[str] = []
    context.on("request", lambda request: _only_local(request.url, wrong))
    context.on("requestfailed", lambda request: _failed(request, wrong))
    context.on("weberror", lambda error: wrong.append(f"error: {error.error}"))
    context.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))

    def open_page(folder, hash_="", name="index.html"):
        page = context.new_page()
        page.goto(address(folder / name) + (f"#{hash_}" if hash_ else ""), wait_until="commit")
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    context.close()
    assert wrong == []


def _failed(request, wrong):
    if request.failure != "net::ERR_ABORTED":  # by the page being left or loaded again
        wrong.append(f"failed: {request.url}: {request.failure}")


def _only_local(url, wrong):
    if not url.startswith(("file:", "data:", "blob:")):
        wrong.append(f"not from disk: {url}")


@pytest.fixture
def not_a_picture(run_copy):
    """A run with a PNG of somebody else's among its own."""
    Image.new("RGB", (8, 8)).save(run_copy / "concept-00003" / "holiday.png")
    return run_copy
