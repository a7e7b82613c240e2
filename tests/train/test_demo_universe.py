import socket
from collections.abc import Iterator

import pytest
import torch
from matrices import r2_matrix

from usae_train.images.sources import DemoImages
from usae_train.model.checkpoint import load
from usae_train.model.places import EMBEDDED
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_train.scenes.factors import FACTOR_VALUES


@pytest.fixture(scope="module")
def demo() -> Iterator[USAE]:
    def offline(*_: object, **__: object) -> None:
        raise AssertionError("the demo asked for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", offline)
        usae = load("demo")
        assert usae.backbones
        yield usae


def test_it_loads_offline_with_the_papers_three_names(demo: USAE) -> None:
    assert sorted(demo.names) == ["dino", "siglip", "vit"]
    assert sorted(read_specs("demo")) == ["dino", "siglip", "vit"]
    assert demo.grid == (8, 8)
    assert {name: backbone.width for name, backbone in demo.backbones.items()} == demo.widths
    assert demo.source == "demo"


def test_token_layouts_differ_as_the_papers_do(demo: USAE) -> None:
    prefixes = {name: backbone.model.num_prefix_tokens for name, backbone in demo.backbones.items()}
    assert prefixes == {"vit": 1, "dino": 5, "siglip": 0}
    assert demo.backbones["dino"].grid[0] > demo.backbones["vit"].grid[0]


def test_statistics_and_truth_are_there(demo: USAE) -> None:
    statistics = demo.statistics
    assert statistics is not None
    assert statistics.auroc is not None
    assert demo.factors == FACTOR_VALUES
    assert statistics.auroc.shape == (3, len(FACTOR_VALUES), demo.n_concepts)
    assert statistics.fires.shape == (3, demo.n_concepts)
    assert (statistics.universality > 0).any()
    assert statistics.counts[1] == statistics.counts[0] * 64


def test_the_folder_is_small_and_holds_nothing_that_runs() -> None:
    files = [p for p in EMBEDDED["demo"].rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".md"}
    assert sum(p.stat().st_size for p in files) < 12e6


def test_any_backbones_codes_explain_every_backbones_tokens(demo: USAE) -> None:
    """On scenes of the test split, which neither training nor statistics saw."""
    source = DemoImages(16, "test")
    canvases = torch.stack([source.read(index, 96) for index in range(16)])
    tokens = {name: demo.tokens(name, canvases).flatten(0, 1) for name in demo.names}
    matrix = r2_matrix(demo, tokens)
    for encoding in demo.names:
        for target in demo.names:
            assert matrix[encoding][target] > 0, (encoding, target)
        assert matrix[encoding][encoding] > 0.3
