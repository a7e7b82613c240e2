"""A run is resumed after the USAE's statistics, or names of concepts, were made anew: no picture is drawn again."""

import json
import shutil

import pytest
from running_recipes import QUICK, contents, drawn, run

import usae_train as ut
from usae_train.model.checkpoint import load
from usae_train.model.statistics import read_origin
from usae_viz.export.png import read_pixels, read_png, rewrite_png
from usae_viz.runs import manifest
from usae_viz.runs.manifest import statistics_hash


def percentiles(table):
    return {(image, name): own["percentile"] for image, row in table.items() for name, own in row["backbones"].items()}


def test_percentiles_are_of_one_measurement_and_no_picture_is_drawn_again(usae, tmp_path, drawings):
    folder = tmp_path / "usae"
    ut.save(usae, folder)
    text = f"concepts: [3]\nvariants: {{a: {{}}}}\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    room = out / "concept-00003"
    before, pixels = (
        percentiles(json.loads((room / "scores.json").read_text())["images"]),
        read_pixels(room / "a-left.png"),
    )
    own, kept = load(folder).statistics, folder / "statistics.safetensors"
    own.quantiles.mul_(50)  # as if natural pictures had larger codes
    own.save(kept, read_origin(kept))
    drawings.clear()
    drawn(folder, tmp_path, text.replace("a: {}", "a: {}, b: {views: 2}"))
    assert [settings.views for _, settings in drawings] == [2]
    table = json.loads((room / "scores.json").read_text())["images"]
    now = percentiles(table)
    for (image, name), found in now.items():
        row = load(folder).names.index(name)
        assert found == own.percentile(row, 3, table[image]["backbones"][name]["code"])
    assert {key: now[key] for key in before} != before
    assert read_pixels(room / "a-left.png").tobytes() == pixels.tobytes()
    assert read_png(room / "a-left.png")["scores"] == table["a-left"]
    kept = contents(out)
    drawn(folder, tmp_path, text.replace("a: {}", "a: {}, b: {views: 2}"))
    assert contents(out) == kept


def measured_anew(folder, factor):
    """The statistics of a USAE as if natural pictures had larger codes."""
    own, kept = load(folder).statistics, folder / "statistics.safetensors"
    own.quantiles.mul_(factor)
    own.save(kept, read_origin(kept))


def stop_at(monkeypatch, when):
    """Ctrl-C at the n-th file that is written, before it takes its place."""
    real, count = manifest.write_atomically, iter(range(100))

    def stopped(file, content):
        if next(count) == when:
            raise KeyboardInterrupt
        real(file, content)

    monkeypatch.setattr(manifest, "write_atomically", stopped)


@pytest.mark.parametrize("when", range(4))  # the record, a picture each for two backbones, the record
def test_nothing_is_lost_where_it_is_stopped_while_it_measures_again(usae, tmp_path, drawings, when):
    folder = ut.save(usae, tmp_path / "usae")
    text = f"concepts: [3]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    measured_anew(folder, 50)
    shutil.copytree(out, tmp_path / "kept")
    drawn(folder, tmp_path, text)
    whole = contents(out)
    shutil.rmtree(out)
    (tmp_path / "kept").rename(out)
    drawings.clear()
    for factor in (1, 2):  # stopped, measured again by others, stopped again
        measured_anew(folder, factor)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, when)
            assert run("render", tmp_path / "recipe.yaml", "--out", out, "-q").exit_code == 130
    measured_anew(folder, 0.5)
    drawn(folder, tmp_path, text)
    assert drawings == []
    assert contents(out) == whole


def test_a_record_that_does_not_say_its_statistics_is_read_and_no_picture_of_it_written_again(usae, tmp_path, drawings):
    """Those of before they were hashed."""
    folder = ut.save(usae, tmp_path / "usae")
    text = f"concepts: [3]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    (file,) = (out / "manifest").glob("*.json")
    record = json.loads(file.read_text())
    del record["statistics"]
    file.write_text(json.dumps(record))
    sheet = out / "concept-00003" / "sheet.png"
    before = {name: own for name, own in contents(out).items() if not name.startswith("manifest")}
    drawings.clear()
    drawn(folder, tmp_path, text)
    assert drawings == []
    assert {name: own for name, own in contents(out).items() if not name.startswith("manifest")} == before
    rewrite_png(sheet, sheet, {"statistics": "others"})
    drawn(folder, tmp_path, text)
    assert drawings == []
    assert read_png(sheet)["statistics"] == statistics_hash(load(folder))


def test_a_name_that_is_changed_changes_the_sheet(usae, tmp_path, drawings):
    folder = ut.save(usae, tmp_path / "usae")
    text = f"concepts: [3]\n{QUICK}"
    out = drawn(folder, tmp_path, text)
    sheet = out / "concept-00003" / "sheet.png"
    titles = [read_png(sheet)["title"]]
    drawings.clear()
    for name in ("eyes", "ears"):
        labels = {"schema": 1, "usae": "usae", "usae_sha256": None, "labels": [{"concept": 3, "name": name}]}
        (folder / "labels.json").write_text(json.dumps(labels))
        drawn(folder, tmp_path, text)
        titles.append(read_png(sheet)["title"])
    assert drawings == []
    assert "eyes" in titles[1]
    assert titles == [titles[0], titles[1], titles[1].replace("eyes", "ears")]
