"""What is handed over as a USAE, pictures or backbones and is none is said in a line, by every public function."""

import copy

import numpy as np
import pytest
import torch

import usae_train as ut
import usae_viz as uv
from usae_train.images.sources import as_source

NO_USAE = {
    "evaluate": lambda: ut.evaluate("demo", "demo"),
    "r2_matrix": lambda: ut.r2_matrix("demo", "demo"),
    "top_patches": lambda: ut.top_patches("demo", 3, "demo"),
    "intervene": lambda: ut.intervene("demo", "vit", {}).__enter__(),
    "transplant": lambda: ut.transplant("demo", "vit", "dino", torch.zeros(1, 3, 64, 64)).__enter__(),
    "save": lambda: ut.save("demo", "nowhere"),
    "export_sae": lambda: ut.export_sae("demo", "vit", "nowhere"),
    "add_backbone": lambda: ut.add_backbone("demo", "demo", "resnet18"),
    "maximize": lambda: uv.maximize("demo", uv.Concept(3)),
    "explain": lambda: uv.explain("demo", "photo.png"),
    "concept_map": lambda: uv.concept_map("demo", "photo.png", "vit", 3),
    "concept_table": lambda: uv.concept_table("demo"),
}


@pytest.mark.parametrize("name", NO_USAE)
def test_a_name_is_no_usae(name):
    with pytest.raises(
        ValueError, match=r"^usae is 'demo'; expected a USAE, such as usae_train\.load\('demo'\) gives$"
    ):
        NO_USAE[name]()


def test_pictures_are_named_or_a_source(picture_folder):
    source = ut.open_images(picture_folder)
    assert as_source(source) is source
    assert len(as_source(picture_folder, 2)) == 2
    with pytest.raises(ValueError, match="pictures are of type list; expected a folder, `demo`, or what usae_train"):
        as_source(["a.png"])
    with pytest.raises(
        ValueError, match=r"limit is for pictures given by name; of an open source take a slice, \[:2\]"
    ):
        as_source(source, 2)


def test_a_bare_network_is_told_how_it_becomes_a_backbone():
    with pytest.raises(ValueError, match=r"backbone a is a Linear; expected .*ModuleBackbone\(network, layer"):
        ut.fit("demo", backbones={"a": torch.nn.Linear(2, 2)}, limit=2, n_concepts=4, k=1)


def test_arrays_are_agreed_on_as_tensors_are():
    tokens = {name: np.random.default_rng(n).normal(size=(64, 5)).astype(np.float32) for n, name in enumerate("ab")}
    size = {"steps": 4, "batch": 16}
    usae = ut.fit(tokens, n_concepts=8, k=2, quiet=True, **size)  # which agrees with itself
    given = {name: torch.from_numpy(own) for name, own in tokens.items()}
    made = [ut.consensus([usae, copy.deepcopy(usae)], data, **size) for data in (tokens, given)]
    assert torch.equal(made[0].dictionary("a"), made[1].dictionary("a"))
