"""What a USAE, codes and statistics say of themselves."""

import numpy as np
import torch

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE


def test_a_usae_says_its_size_backbones_source_and_recipe():
    usae = ut.load("demo")
    said = repr(usae)
    assert said.startswith("USAE, demo: 256 concepts over 3 backbones, 24 active per patch\n  vit  ")
    assert "recipe: default" in said
    assert "128000 tokens of 2000 pictures, demo" in said
    page = usae._repr_html_()
    assert page.count("<tr>") == 4
    assert "128 wide" in page


def test_one_in_memory_says_so():
    said = repr(USAE({"a": 4}, 8, 2))
    assert said.splitlines() == [
        "USAE, in memory only: 8 concepts over 1 backbone, 2 active per patch",
        "  a  bare activations  4 wide",
        "recipe: not known",
        "no statistics: ut.evaluate(usae, PICTURES).statistics measures them",
    ]


def test_places_in_one_layer_are_told_apart():
    usae = USAE({"a": 4, "b": 4}, 8, 2)
    spec = BackboneSpec(model="vit", layer=5, input_size=64)
    usae.specs = {"a": spec, "b": spec.model_copy(update={"site": "attention"})}
    _, a, b, *_ = repr(usae).splitlines()
    assert "  layer 5, 64 px  " in a
    assert "  layer 5's attention, 64 px  " in b


def test_codes_are_a_line():
    codes = Codes(torch.tensor([[2.0, 0.5], [1.0, 0.0]]), torch.tensor([[3, 1], [0, 2]]))
    assert repr(codes) == "Codes(2 tokens, 2 concepts each at most; active codes 0.5 to 2; float32 on cpu)"
    empty = Codes(torch.zeros(2, 3, 0), torch.zeros(2, 3, 0, dtype=torch.long))
    assert repr(empty) == "Codes(2 x 3 tokens, 0 concepts each at most; active codes none active; float32 on cpu)"
    values, indices = codes
    assert values is codes.values
    assert indices is codes.indices


def test_statistics_are_a_line():
    said = repr(ut.load("demo").statistics)
    assert said == "<Statistics: 256 of 256 concepts fire, 234 in every backbone, on 128000 tokens of 2000 pictures>"


def test_fit_says_how_it_went_and_what_is_next(capsys):
    tokens = {name: np.random.default_rng(seed).normal(size=(64, 5)) for seed, name in enumerate("ab")}
    usae = ut.fit(tokens, n_concepts=8, k=2, steps=3, batch=16)
    heads, alive, following = capsys.readouterr().err.splitlines()
    assert heads.startswith("8 concepts over a, b; R² of a backbone's own tokens ")
    fires = usae.statistics.fires > 0
    assert alive == f"{fires.any(0).sum()} of 8 concepts fire, {fires.all(0).sum()} in every backbone"
    assert following.startswith("in memory only: ut.save(usae, FOLDER) keeps it; ut.r2_matrix(usae, HELD_OUT_TOKENS)")
    ut.fit(tokens, n_concepts=8, k=2, steps=3, batch=16, quiet=True)
    assert capsys.readouterr().err == ""


def test_arrays_are_encoded_as_tensors_are():
    usae = ut.load("demo")
    tokens = torch.randn(4, usae.widths["vit"], generator=torch.Generator().manual_seed(0))
    given, found = usae.encode("vit", tokens), usae.encode("vit", tokens.numpy().astype(np.float64))
    assert torch.equal(given.values, found.values)
    canvases = np.full((1, 64, 64, 3), 255, np.uint8)
    assert torch.equal(usae.tokens("dino", canvases), usae.tokens("dino", torch.ones(1, 3, 64, 64)))
    assert torch.equal(usae.backbones["vit"](canvases), usae.backbones["vit"](torch.ones(1, 3, 64, 64)))
