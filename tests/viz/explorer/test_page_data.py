"""What Python writes for the pages has the names that page/data.d.ts declares to their scripts."""

import json
import re
from dataclasses import fields
from importlib.resources import files

import pytest

from usae_viz.concepts import followed
from usae_viz.concepts.labels import Label
from usae_viz.explorer import cards, vocabulary
from usae_viz.explorer.columns import Column
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

OF_DATACLASSES = {
    "PictureData": cards.PictureData,
    "RunPicturesData": cards.RunPicturesData,
    "CardData": cards.CardData,
    "ColumnData": Column,
    "FactorData": vocabulary.FactorData,
}


def declared(page):
    """{interface: its names} of a page's data.d.ts."""
    text = files(f"usae_viz.{page}").joinpath("page/data.d.ts").read_text()
    bodies = re.findall(r"^interface (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name: set(re.findall(r"^  (\w+)\??:", body, re.MULTILINE)) for name, body in bodies}


@pytest.mark.parametrize(("file", "constant"), [("view.js", "FOLLOWS_AUROC"), ("concepts.js", "CHANCE_AUROC")])
def test_a_page_takes_labels_from_the_same_auroc_on_as_python(file, constant):
    (value,) = re.findall(
        rf"^const {constant} = ([\d.]+);", files("usae_viz.explorer").joinpath("page", file).read_text(), re.M
    )
    assert float(value) == getattr(followed, constant)


@pytest.mark.parametrize("name", OF_DATACLASSES)
def test_objects_have_the_declared_names(name):
    assert declared("explorer")[name] == {field.name for field in fields(OF_DATACLASSES[name])}


def test_the_page_has_the_declared_names(run_folder, tmp_path):
    assert explore(open_sources([str(run_folder)]), tmp_path, patches=1) == []
    data, detail = (written(tmp_path / "explorer" / name) for name in ("data.js", "details/0.js"))
    names = declared("explorer")
    (natural, *_), *_ = detail["natural"]
    picture_detail = detail["pictures"][0]["concept-00003/left"]
    assert set(data) == names["ExplorerData"]
    assert set(data["usae"]) == names["UsaeData"]
    assert set(data["runs"][0]) == names["RunData"]
    assert set(detail) == names["DetailData"]
    assert set(natural) == names["NaturalData"]
    assert set(picture_detail) == names["PictureDetailData"]
    assert set(picture_detail["scores"]) == names["ScoresData"]
    assert names["LabelData"] == set(Label.model_fields)


def written(file):
    """What a script hands to the page, the last of several things."""
    text = file.read_text()
    return json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]")[-1]
