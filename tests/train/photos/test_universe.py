import json

import pytest
import torch

import usae_train as ut
from usae_train.model.places import EMBEDDED
from usae_train.model.spec_files import read_specs
from usae_train.photos.build import SETTINGS, SPECS, measure_held_out

FOLDER = EMBEDDED["photos"]


def test_the_folder_is_small_and_holds_neither_code_nor_photographs_nor_paths():
    files = list(FOLDER.rglob("*"))
    assert {file.name for file in files} == {
        "config.json",
        "model.safetensors",
        "statistics.safetensors",
        "labels.json",
        "README.md",
    }
    assert sum(file.stat().st_size for file in files) < 6e6
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["images"] is None
    for file in files:
        for place in (b"/tmp", b"/root", b"/home", b"/shared/"):
            assert place not in file.read_bytes(), (file, place)


def test_it_loads_without_the_packages_and_knows_which_it_needs(monkeypatch):
    monkeypatch.setattr("usae_train.backbones.backbone.Backbone", None)
    usae = ut.load("photos")
    assert usae.specs == SPECS == read_specs("photos")
    assert (usae.n_concepts, usae.k, usae.grid) == (SETTINGS.n_concepts, SETTINGS.k, (14, 14))
    assert usae.statistics.counts[0] == 943
    assert ((usae.statistics.fires > 0).float().mean(1) >= 0.95).all()


@pytest.mark.real
def test_it_explains_photographs_that_it_was_not_trained_on(real):
    """The card's figures are of all 118; these are of every fifth of them."""
    source = ut.open_images(real / "photos" / "held")
    source.files = source.files[::5]
    r2 = measure_held_out(ut.load("photos"), 943, source).r2
    assert min(r2[name][name] for name in SPECS) > 0.5
    assert min(r2["lite0"]["lite2"], r2["lite2"]["lite0"]) > 0.4


@pytest.mark.real
def test_its_statistics_are_of_these_photographs(real):
    source = ut.open_images(real / "photos" / "train")
    usae = ut.load("photos")
    assert usae.measured_on.matches(source)
    for row, name in enumerate(usae.names):
        concept = int(usae.statistics.universality.argmax())
        number, token = (
            int(each[row, concept, 0]) for each in (usae.statistics.top_images, usae.statistics.top_tokens)
        )
        with torch.no_grad():
            code = usae.encode(name, usae.tokens(name, source.read(number, 224)[None])).of(concept)[0, token]
        assert code.item() == pytest.approx(usae.statistics.quantiles[row, concept, -1].item(), rel=0.05)
