"""What the explorer writes, and what it says of wrong input; how the page behaves is in test_explorer_browser.py."""

import base64
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from kept_maps import maps_of_statistics
from PIL import Image
from typer.testing import CliRunner

import usae_train as ut
from usae_viz.cli import app
from usae_viz.explorer.columns import transfer
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources
from usae_viz.runs.metadata import ImageMetadata
from usae_viz.runs.run_folder import RenderedImage, RenderedObjective, read_run


def run(*words):
    return CliRunner().invoke(app, ["explore", *map(str, words)])


def called(file, name):
    """What a script hands to the page."""
    text = file.read_text()
    assert text.startswith(f"{name}(")
    return json.loads("[" + text[len(name) + 1 : text.rindex(")")] + "]")


@pytest.fixture(scope="module")
def explored(run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "out"
    assert explore(open_sources([str(run_folder)]), out, patches=4) == []
    return out


def test_a_run_alone_keeps_its_page(run_copy):
    done = run(run_copy)
    assert done.exit_code == 0, done.output
    assert "3 cards" in done.stdout
    (data,) = called(run_copy / "explorer" / "data.js", "usaeData")
    assert [card["id"] for card in data["cards"]] == ["3", "5", "Concept(3) - Concept(5)"]
    assert data["runs"][0]["full"] == ""
    assert not (run_copy / "explorer" / "pictures").exists()
    again = run(run_copy, "--quiet")
    assert (again.exit_code, again.output) == (0, "")
    assert {each.name for each in run_copy.iterdir() if each.name.startswith(".")} == set()


def test_elsewhere_the_pictures_are_brought_along(explored, run_folder):
    (data,) = called(explored / "explorer" / "data.js", "usaeData")
    pictures = [picture for card in data["cards"] for run in card["run_pictures"] for picture in run["pictures"]]
    assert len(pictures) == 9
    for below in (picture["file"] for picture in pictures):
        copied = explored / data["runs"][0]["full"] / f"{below}.png"
        assert copied.read_bytes() == (run_folder / f"{below}.png").read_bytes()
        assert (explored / "explorer" / "thumbs" / "0" / f"{below}.webp").stat().st_size < 20_000


def test_the_former_name_of_patches_is_taken_with_a_warning(run_copy):
    done = run(run_copy, "--natural", "0")
    assert done.exit_code == 0, done.output
    assert "--natural is called --patches now" in done.stderr
    (data,) = called(run_copy / "explorer" / "data.js", "usaeData")
    assert data["natural"] == 0


def test_a_usae_has_a_card_for_every_concept_and_no_pictures(usae_folder, tmp_path):
    done = run(usae_folder, "--out", tmp_path / "page", "--patches", "2")
    assert done.exit_code == 0, done.output
    (data,) = called(tmp_path / "page" / "explorer" / "data.js", "usaeData")
    assert [card["id"] for card in data["cards"]] == [str(k) for k in range(12)]
    assert all(card["run_pictures"] == [] for card in data["cards"])
    statistics = ut.load(usae_folder).statistics
    columns = {column["key"]: column["values"] for column in data["columns"]}
    assert columns["fires.left"] == pytest.approx(statistics.firing_share[0].tolist(), rel=1e-3)
    assert columns["co_fires"] == pytest.approx(statistics.co_fires.tolist(), rel=1e-3)


def test_natural_pictures_are_where_the_statistics_say(explored, usae_folder):
    """The map's strongest patch is the statistics' token, and its code the largest that was seen."""
    statistics = ut.load(usae_folder).statistics
    place, detail = called(explored / "explorer" / "details" / "0.js", "usaeDetail")
    assert place == 0
    for row, entries in enumerate(detail["natural"]):
        assert [entry["image"] for entry in entries] == [
            n for n in statistics.top_images[row, 3, :4].tolist() if n >= 0
        ]
        for entry in entries:
            heat = torch.frombuffer(bytearray(base64.b64decode(entry["heat"][row])), dtype=torch.uint8)
            assert heat.argmax() == entry["token"]
            assert (explored / "explorer" / "natural" / f"{entry['image']}.webp").is_file()
        peak = statistics.quantiles[row, 3, -1].item()
        assert entries[0]["codes"][row] == pytest.approx(peak, rel=0.05)  # the files have 8 bits per channel
    assert (explored / "explorer" / "patches" / "3.webp").is_file()


def test_what_a_folder_keeps_is_shown_without_a_pass(usae_folder, tmp_path, monkeypatch):
    """The same page to the byte as where the pictures are encoded; and no backbone is built."""
    kept = shutil.copytree(usae_folder, tmp_path / "kept")
    without = shutil.copytree(usae_folder, tmp_path / "without")
    (without / "maps.safetensors").unlink()
    usae = ut.load(kept)
    maps_of_statistics(usae).save(kept / "maps.safetensors", usae.sha256, usae.measured_on.fingerprint)
    assert run(without, "--out", tmp_path / "encoded").exit_code == 0
    monkeypatch.setattr("usae_train.backbones.backbone.build_backbones", None)
    assert run(kept, "--out", tmp_path / "shown").exit_code == 0
    for part in ("details", "natural", "patches"):
        files = sorted((tmp_path / "encoded" / "explorer" / part).iterdir())
        assert files
        for file in files:
            assert file.read_bytes() == (tmp_path / "shown" / "explorer" / part / file.name).read_bytes(), file


def test_moved_pictures_are_said_and_the_rest_is_shown(run_copy, usae_folder, tmp_path):
    moved = ut.load(usae_folder)
    moved.measured_on = replace(moved.measured_on, name=str(tmp_path / "gone"))
    sources = open_sources([str(run_copy)])
    missing = explore(type(sources)(moved, sources.runs, sources.cards), tmp_path / "page")
    assert missing == [
        f"No top-activating patches: no folder '{tmp_path / 'gone'}'; expected a folder of pictures, or `demo`; "
        "--images takes your own."
    ]
    (data,) = called(tmp_path / "page" / "explorer" / "data.js", "usaeData")
    assert data["missing"] == missing
    assert data["natural"] == 0
    moved.measured_on = replace(open_sources([usae_folder]).usae.measured_on, fingerprint="others")
    (line,) = explore(type(sources)(moved, sources.runs, sources.cards), tmp_path / "page")
    assert "have changed since the statistics were measured" in line


def test_what_cannot_be_read_is_named(not_a_picture):
    done = run(not_a_picture)
    assert done.exit_code == 0
    assert "holiday.png has no settings inside" in done.stderr
    assert done.stderr.count("\n") == 1


def test_transfer_by_hand():
    def seen(code):
        return {"code": code, "rank": 1, "share": 0.5, "fires": True}

    def picture(own, codes):
        scores = {"fired": True, "drawn_for": own, "backbones": {name: seen(code) for name, code in codes.items()}}
        about = ImageMetadata(picture=own[0], objective="Concept(1)", settings={}, scores=scores)
        return RenderedImage(file=None, path_in_run="", metadata=about, animation=None)

    one = picture(["a"], {"a": 4.0, "b": 1.0, "c": 3.0})  # (1 + 3) / 2 / 4 = 0.5
    two = picture(["b"], {"a": 1.0, "b": 2.0, "c": 0.0})  # 0.25
    shared = picture(["a", "b", "c"], {"a": 9.0, "b": 1.0, "c": 1.0})  # drawn for all: nothing to transfer to
    assert transfer(RenderedObjective(None, "Concept(1)", [one, two, shared], {})) == pytest.approx(0.375)
    assert transfer(RenderedObjective(None, "Concept(1)", [shared], {})) is None


def test_a_run_is_read_back(run_folder):
    found = read_run(run_folder)
    modes = {(p.mode, p.backbone, p.seed) for p in found.objectives[0].pictures}
    assert modes == {("per-model", "left", 0), ("per-model", "right", 0), ("shared", "shared", 0)}
    assert [each.concept for each in found.objectives] == [3, 5, None]


def test_variants_of_a_concept_share_its_card(usae_folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"usae: {usae_folder}\nconcepts: [3]\nseeds: [0, 1]\nsettings: {{steps: 1, views: 1, size: 32}}\n"
        "variants:\n  plain: {}\n  centred: {objective: \"Concept({k}, pool='centre')\"}\n"
    )
    out = tmp_path / "run"
    drawn = CliRunner().invoke(app, ["render", str(recipe), "-o", str(out), "-q"])
    assert drawn.exit_code == 0, drawn.output
    assert run(out).exit_code == 0
    (data,) = called(out / "explorer" / "data.js", "usaeData")
    (card,) = data["cards"]
    assert card["id"] == "3"
    found = [
        (picture["variant"], picture["seed"], picture["backbone"]) for picture in card["run_pictures"][0]["pictures"]
    ]
    pairs = [(seed, name) for seed in (0, 1) for name in ("left", "right")]
    assert sorted(found) == sorted((variant, *pair) for variant in ("plain", "centred") for pair in pairs)
    assert "agreement.0" in {column["key"] for column in data["columns"]}


def test_wrong_input_is_one_line_and_leaves_nothing(run_copy, usae_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.json").write_text('{"schema": 1}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"schema": ')
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "index.html").write_text("<p>mine")
    (tmp_path / "file").write_text("")
    record = json.loads((run_copy / "run.json").read_text())
    (tmp_path / "other").mkdir()
    drawn = tmp_path / "other" / "concept-00003"
    drawn.mkdir()
    (drawn / "left.png").write_bytes((run_copy / "concept-00003" / "left.png").read_bytes())
    (tmp_path / "other" / "run.json").write_text(json.dumps({**record, "usae_sha256": "0" * 64}))
    before = sorted(tmp_path.rglob("*"))
    for words, message in (
        (["nowhere"], "no such folder: nowhere"),
        (["no/where/at/all"], "no such folder: no/where/at/all"),
        (["empty"], "empty is neither a run folder (it has no run.json) nor a USAE folder"),
        (["file"], "file is a file; expected a run folder or a USAE"),
        (["bare"], "bare has no pictures in it; draw some with usae-viz maximize or render"),
        (["torn"], "run.json is not a readable run record"),
        (["other"], "other was drawn with another USAE (sha256 000000000000) than"),
        ([run_copy, "--usae", "nowhere"], "unknown USAE 'nowhere'"),
        ([usae_folder, usae_folder], "at most one USAE"),
        ([usae_folder, "-o", "theirs"], "index.html exists already, and is not an explorer that usae-viz made"),
        ([usae_folder, "-o", "file/page"], "cannot be written"),
    ):
        done = run(*words)
        assert done.exit_code == 1, words
        assert message in done.stderr, (words, done.stderr)
        assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert run("other", "--pictures-only").exit_code == 0


def test_a_usae_without_statistics_has_nothing_to_show(usae, tmp_path):
    bare = ut.USAE(usae.widths, usae.n_concepts, usae.k)
    folder = ut.save(bare, tmp_path / "bare")
    done = run(folder, "-o", tmp_path / "page")
    assert done.exit_code == 1
    assert "has no statistics, so there is nothing to show" in done.stderr
    assert not (tmp_path / "page").exists()


def test_nothing_is_opened_unless_asked(run_copy, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run(run_copy, "--patches", "0").exit_code == 0
    assert opened == []
    assert run(run_copy, "--patches", "0", "--open").exit_code == 0
    assert opened == [(run_copy / "index.html").as_uri()]


def test_a_page_that_fails_leaves_the_old_one(run_copy, monkeypatch):
    assert run(run_copy).exit_code == 0
    before = {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()}
    monkeypatch.setattr("usae_viz.explorer.page.page_data", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explore(open_sources([str(run_copy)]), run_copy)
    assert {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()} == before


def test_what_a_killed_run_left_goes_and_what_a_living_one_writes_stays(run_copy):
    """Killed with its page half written; a neighbour that lives is half-way too."""
    half_way = (
        "import os, signal, sys, usae_viz.explorer.page as page\n"
        "page.page_data = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from usae_viz.cli import app\n"
        "app(['explore', sys.argv[1], '--patches', '0'])"
    )
    assert subprocess.run([sys.executable, "-c", half_way, str(run_copy)]).returncode == -signal.SIGKILL
    (left,) = run_copy.glob(".explorer.*.part")
    assert any(left.rglob("*.webp"))
    (run_copy / f".index.html.{left.suffixes[-2][1:]}.part").write_text("half")
    neighbour = subprocess.Popen(["sleep", "120"])
    try:
        theirs = run_copy / f".explorer.{neighbour.pid}.part"
        (theirs / "details").mkdir(parents=True)
        assert run(run_copy, "--patches", "0").exit_code == 0
        assert list(run_copy.glob(".*.part")) == [theirs]
        assert (theirs / "details").is_dir()
    finally:
        neighbour.kill()
        neighbour.wait()
    assert run(run_copy, "--patches", "0").exit_code == 0
    assert list(run_copy.glob(".*.part")) == []


def test_a_page_whose_place_cannot_be_taken_gives_it_back(run_copy, monkeypatch):
    assert run(run_copy, "--patches", "0").exit_code == 0
    before = {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()}
    monkeypatch.setattr("usae_train.files.placing.os.replace", _replace_but_not_new)
    with pytest.raises(ValueError, match="explorer cannot be written: no; free some space, or choose another place"):
        explore(open_sources([str(run_copy)]), run_copy, patches=0)
    assert {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()} == before


def test_a_full_disk_is_one_line_and_leaves_nothing(run_folder, tmp_path, monkeypatch):
    saved = []

    def full(*given, **_):
        saved.append(given)
        if len(saved) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    done = run(run_folder, "--patches", "0", "-o", tmp_path / "new" / "page")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "new/page/explorer cannot be written: No space left on device; free some space" in done.stderr
    assert list(tmp_path.iterdir()) == []


def _replace_but_not_new(source, target, replace=os.replace):
    if source.name == f".explorer.{os.getpid()}.part":
        raise PermissionError(13, "no", str(target))
    replace(source, target)


def test_help_is_quick():
    code = "import sys; import usae_viz.cli; print('torch' in sys.modules, 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2
