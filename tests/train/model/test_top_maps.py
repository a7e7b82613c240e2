from dataclasses import replace

import pytest
import torch
from kept_maps import maps_of_statistics
from safetensors.torch import load_file, save_file

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.images.arrays import to_uint8
from usae_train.images.sources import DemoImages
from usae_train.model import top_maps
from usae_train.model.checkpoint import fill_statistics
from usae_train.model.natural import find_strongest, natural_pictures
from usae_train.model.sparse import Codes
from usae_train.model.top_maps import MAPS, TopCodes, read_maps

GRID = 4  # tokens


def codes_of(rows: list[list[dict[int, float]]]) -> Codes:
    """Codes of pictures, a {concept: code} a token."""
    slots = [[(sorted(token.items()) + [(2, 0.0)] * 2)[:2] for token in picture] for picture in rows]
    values, indices = torch.tensor(slots)[..., 1], torch.tensor(slots)[..., 0].long()
    return Codes(values, indices)


def by_hand() -> tuple[TopCodes, torch.Tensor]:
    """Two backbones, three concepts, pictures 7 and 9: concept 0 is strongest in 9 for both, 1 in 7 for the second."""
    left = codes_of([[{0: 1.0}, {}, {}, {}], [{}, {0: 2.0}, {0: 1.0}, {}]])
    right = codes_of([[{1: 4.0}, {}, {}, {1: 1.0}], [{0: 3.0}, {1: 2.0}, {}, {}]])
    top_images = torch.tensor([[[9], [-1], [-1]], [[9], [7], [-1]]])
    kept = TopCodes(["left", "right"])
    kept.add(torch.tensor([7, 9]), {"left": left, "right": right}, top_images)
    return kept, top_images


def test_maps_by_hand():
    kept, top_images = by_hand()
    maps = kept.maps(top_images, torch.tensor([[2.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), 32)
    assert list(zip(maps.concepts.tolist(), maps.images.tolist(), strict=True)) == [(0, 9), (1, 7)]
    assert maps.has(0, 9)
    assert not maps.has(0, 7)
    peaks, of_nine = maps.of(0, 9, GRID)
    assert peaks == [2.0, 3.0]
    assert of_nine.tolist() == [[0, 255, 128, 0], [255, 0, 0, 0]]
    peaks, of_seven = maps.of(1, 7, GRID)
    assert peaks == [0.0, 4.0]
    assert of_seven.tolist() == [[0, 0, 0, 0], [255, 0, 0, 64]]


def test_what_is_no_longer_among_the_top_is_forgotten(monkeypatch):
    monkeypatch.setattr(top_maps, "PRUNE_THRESHOLD", 0)
    kept, _ = by_hand()
    kept._pruned_at = 0
    nothing = codes_of([[{2: 1.0}, {}, {}, {}]])
    kept.add(torch.tensor([11]), {"left": nothing, "right": nothing}, torch.tensor([[[-1], [-1], [11]]] * 2))
    assert kept._entries[0].images.tolist() == [11, 11]


def test_a_top_picture_without_a_code_of_its_own_has_an_empty_map():
    kept, _ = by_hand()
    maps = kept.maps(torch.tensor([[[9], [-1], [7]], [[9], [7], [-1]]]), torch.ones(2, 3), 32)
    assert maps.of(2, 7, GRID) == ([0.0, 0.0], pytest.approx(torch.zeros(2, GRID)))
    assert maps.of(0, 9, GRID)[0] == [2.0, 3.0]


@pytest.fixture(scope="module")
def usae() -> ut.USAE:
    small = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    specs = {
        name: BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=size, options=small)
        for name, size in (("left", 32), ("right", 48))
    }
    return ut.fit(DemoImages(12), backbones=specs, n_concepts=8, k=2, steps=3, batch=16)


def dense_maps(usae: ut.USAE, largest: torch.Tensor, number: int, concept: int) -> tuple[list[float], torch.Tensor]:
    """The same from dense codes: the reference."""
    canvas = DemoImages(12).read(number, usae.input_size)[None]
    codes = [usae.encode(name, usae.tokens(name, canvas)).dense(8)[0, :, concept] for name in usae.names]
    shares = [own / peak.clamp_min(1e-6) for own, peak in zip(codes, largest[:, concept], strict=True)]
    return [own.max().item() for own in codes], torch.stack([to_uint8(share) for share in shares])


@pytest.mark.parametrize("looked", [True, False])
def test_what_is_kept_is_what_encoding_again_gives(usae, looked):
    """Of pictures that are looked through, and of the statistics' own."""
    if looked:
        pictures = find_strongest(usae, DemoImages(11))
        maps, images, largest = pictures.maps, pictures.images, pictures.largest
    else:
        maps, images = maps_of_statistics(usae), usae.statistics.top_images
        largest = usae.statistics.quantiles[..., -1]
    asked = {(k, n) for row in images.tolist() for k, of_one in enumerate(row) for n in of_one if n >= 0}
    assert {*zip(maps.concepts.tolist(), maps.images.tolist(), strict=True)} == asked
    for concept, number in sorted(asked)[::5]:
        peaks, found = maps.of(concept, number, usae.grid[0] * usae.grid[1])
        wanted, dense = dense_maps(usae, largest, number, concept)
        assert peaks == pytest.approx(wanted, abs=1e-4)
        assert (found.int() - dense.int()).abs().max() <= 1  # a batch of another size rounds otherwise


def test_fit_keeps_maps_and_a_folder_gives_them_back(usae, tmp_path):
    folder = ut.save(usae, tmp_path / "usae")
    loaded = ut.load(folder)
    pictures, _ = natural_pictures(loaded)
    assert all(torch.equal(getattr(pictures.maps, name), getattr(usae.maps, name)) for name in top_maps.TENSORS)
    assert pictures.maps.input_size == 48
    assert (ut.save(loaded, tmp_path / "again") / MAPS).read_bytes() != b""
    assert ut.load(ut.save(loaded, tmp_path / "half", half=True)).maps is not None
    (folder / MAPS).unlink()
    assert natural_pictures(ut.load(folder))[0].maps is None


def test_maps_of_other_pictures_are_not_taken(usae, tmp_path):
    folder = ut.save(usae, tmp_path / "usae")
    loaded = ut.load(folder)
    assert loaded.maps is not None
    fill_statistics(loaded, loaded.statistics, DemoImages(5))
    assert loaded.maps is None
    assert not (folder / MAPS).exists()
    ut.save(usae, tmp_path / "other")
    (tmp_path / "other" / MAPS).rename(folder / MAPS)  # as a version that knows no maps would leave it
    assert ut.load(folder).maps is None


def test_bare_tokens_have_none():
    assert ut.fit({"a": torch.randn(64, 4)}, n_concepts=8, k=2, steps=2).maps is None


BROKEN = {
    "levels": (lambda own: own.int(), "levels and peaks are "),
    "tokens": (lambda own: own.int() + 100, "tokens has numbers outside 0 to 15"),
    "concepts": (lambda own: own.int() - 1, "concepts has numbers outside 0 to 7"),
    "ends": (lambda own: own.flip(0), "ends"),
    "peaks": (lambda own: -own - 1, "peaks has numbers below 0"),
    "images": (lambda own: own[:-1], "it has"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(usae, tmp_path, name):
    spoil, said = BROKEN[name]
    usae.maps.save(file := tmp_path / MAPS, "a", "b")
    found = load_file(file)
    save_file({**found, name: spoil(found[name]).contiguous()}, file, {"usae_sha256": "a", "fingerprint": "b"})
    with pytest.raises(ValueError, match=f"maps.safetensors is broken or incomplete .*{said}.*; remove it"):
        read_maps(file, "a", "b", 2, 8, 16)


def test_a_size_that_is_none_is_one_line(usae, tmp_path):
    replace(usae.maps, input_size=10**6).save(file := tmp_path / MAPS, "a", "b")
    with pytest.raises(ValueError, match="input_size is '1000000', not a size in pixels"):
        read_maps(file, "a", "b", 2, 8, 16)


def test_the_demo_keeps_what_its_pictures_show():
    usae = ut.load("demo")
    kept, images = usae.maps, usae.statistics.top_images
    assert all(
        kept.has(concept, number)
        for of_one in images
        for concept, row in enumerate(of_one.tolist())
        for number in row
        if number >= 0
    )
    concept, number = 3, int(images[0, 3, 0])
    canvas = usae.measured_on.reopened().read(number, usae.input_size)[None]
    for row, name in enumerate(usae.names):
        code = usae.encode(name, usae.tokens(name, canvas)).of(concept)[0]
        peaks, found = kept.of(concept, number, 64)
        assert peaks[row] == pytest.approx(code.max().item(), abs=1e-4)
        peak = usae.statistics.quantiles[row, concept, -1]
        assert (found[row].int() - to_uint8(code / peak).int()).abs().max() <= 1
