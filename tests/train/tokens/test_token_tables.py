"""Paired tokens that somebody else wrote."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import usae_train as ut
from usae_train.tokens.places import names_tokens
from usae_train.tokens.saev_shards import read_saev
from usae_train.tokens.token_tables import TokenTables, read_tokens, tokens_to_fit

ROWS = torch.arange(24.0).view(8, 3)
METADATA = {
    "layers": [3, 7],
    "n_patches_per_img": 2,
    "cls_token": True,
    "d_vit": 3,
    "n_imgs": 5,
    "n_patches_per_shard": 2 * 3 * 2,  # two images a file
    "data": "not looked at",
}
ACTS = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))  # images, layers, tokens with class, width


def write_saev(folder: Path, **changes: object) -> Path:
    """What saev 0.1.0 writes: every file of one size, what is left of the last one zeros."""
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({**METADATA, **changes}))
    for number in range(3):
        own = ACTS[2 * number : 2 * number + 2]
        padded = torch.cat([own, torch.zeros(2 - len(own), 2, 3, 3)])
        (folder / f"acts{number:06}.bin").write_bytes(padded.numpy().tobytes())
    return folder


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, kind, order):
    np.save(tmp_path / "a.npy", np.asarray(ROWS.numpy(), kind, order))
    np.save(tmp_path / "b.npy", ROWS.numpy()[:, :2].astype(kind))
    found = read_tokens(f"a={tmp_path}/a.npy,b={tmp_path}/b.npy")
    assert list(found.flat) == ["a", "b"]
    assert torch.equal(found.flat["a"].float(), ROWS)
    found.flat["a"].zero_()  # and nothing of it reaches the file
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "a.npy")).float(), ROWS)


def test_safetensors_of_all_and_of_one(tmp_path):
    save_file({"b": ROWS.view(2, 4, 3).bfloat16(), "a": ROWS.view(2, 4, 3)}, tmp_path / "all.safetensors")
    save_file({"whatever": ROWS}, tmp_path / "one.safetensors")
    found = read_tokens(str(tmp_path / "all.safetensors"))
    assert found.by_image
    assert {name: tuple(own.shape) for name, own in found.flat.items()} == {"a": (8, 3), "b": (8, 3)}
    (sample,) = found.sample()
    assert sample.tokens["a"].shape == (2, 4, 3)
    assert torch.equal(read_tokens(f"mine={tmp_path}/one.safetensors").flat["mine"], ROWS)


def test_saev(tmp_path):
    folder = write_saev(tmp_path / "acts")
    assert torch.equal(read_saev(folder, 7), ACTS[:, 1, 1:])
    found = read_tokens(f"vit={folder}@3,late={folder}@7")
    assert torch.equal(found.flat["vit"], ACTS[:, 0, 1:].flatten(0, 1))
    newer = {"content_tokens_per_example": 2, "d_model": 3, "n_examples": 5, "max_tokens_per_shard": 12}
    (folder / "metadata.json").write_text(json.dumps({**newer, "layers": [3, 7], "cls_token": True}))
    assert torch.equal(read_saev(folder, 7), ACTS[:, 1, 1:])


def test_saev_itself_writes_them(tmp_path):
    try:
        activations, config = import_module("saev.activations"), import_module("saev.config")
    except (ImportError, AttributeError) as error:
        pytest.skip(f"saev cannot be imported: {error}")
    (tmp_path / "pictures").mkdir()
    for number in range(5):
        (tmp_path / "pictures" / f"{number}.png").touch()
    writer = activations.ShardWriter(
        config.Activations(
            data=config.ImageFolderDataset(root=str(tmp_path / "pictures")),
            dump_to=str(tmp_path),
            vit_layers=[3, 7],
            n_patches_per_img=2,
            d_vit=3,
            n_patches_per_shard=12,
        )
    )
    writer[0:3], writer[3:5] = ACTS[:3], ACTS[3:]
    writer.flush()
    assert torch.equal(read_saev(Path(writer.root), 7), ACTS[:, 1, 1:])


def test_a_fit_on_files_is_that_on_their_tensors(tmp_path):
    tokens = {name: torch.randn(64, 4, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("ab")}
    for name, own in tokens.items():
        np.save(tmp_path / f"{name}.npy", own.numpy())
    sizes = {"n_concepts": 8, "k": 2, "steps": 3, "batch": 16}
    one, other = ut.fit(tokens, **sizes), ut.fit(f"a={tmp_path}/a.npy,b={tmp_path}/b.npy", **sizes)
    assert all(torch.equal(own, other.state_dict()[name]) for name, own in one.state_dict().items())
    assert torch.equal(one.statistics.fires, other.statistics.fires)


def test_what_is_no_file_of_tokens(tmp_path):
    assert not any(map(names_tokens, ("demo", "photos/train", "hf:a=b", "shards/{000..009}.tar", str(tmp_path))))
    (tmp_path / "a=b").mkdir()
    assert not names_tokens(str(tmp_path / "a=b"))


def test_other_tokens_have_another_identity():
    one, other = TokenTables({"a": ROWS}), TokenTables({"a": ROWS + torch.eye(8, 3)})
    assert one.identity() != other.identity()
    assert one.identity() == TokenTables({"a": ROWS.clone()}).identity()


BAD = {
    "objects.npy": (np.array([{}], dtype=object), "holds Python objects, which only unpickling could read"),
    "whole.npy": (np.zeros((8, 3), np.int32), "holds int32; expected float16, float32 or float64"),
    "other.npy": (np.zeros((8, 3), ">f4"), "holds >f4; expected"),
    "long.npy": (np.zeros((9, 3), np.float32), "rows differ: a 8, b 9; row n must be the same patch"),
    "flat.npy": (np.zeros(8, np.float32), "b: tokens are (8,); expected (n, width) or (images, tokens, width)"),
    "none.npy": (np.zeros((0, 3), np.float32), "b: tokens are (0, 3)"),
    "cut.npy": (b"\x93NUMPY", "is broken or not a .npy file"),
    "text.npy": (b"tokens", "is broken or not a .npy file"),
    "cut.safetensors": (b"12", "is broken or not a .safetensors file"),
    "a.txt": (b"", "is not a file of tokens"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_refused(tmp_path, name):
    content, text = BAD[name]
    np.save(tmp_path / "a.npy", ROWS.numpy())
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content, allow_pickle=True)
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_tokens(f"a={tmp_path}/a.npy,b={tmp_path}/{name}")
    assert text in str(found.value)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("a=missing.npy", "there is no missing.npy; expected NAME=PLACE"),
        ("a=,b=c.npy", "'a=' names no tokens; expected NAME=PLACE"),
        ("a=b.npy,a=c.npy", "a is named twice; expected NAME=PLACE"),
        ("a=.", "has no activations of saev"),
    ],
)
def test_places_that_are_refused(tmp_path, monkeypatch, place, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_tokens(place)
    assert text in str(found.value)


def test_options_of_pictures(tmp_path):
    np.save(tmp_path / "a.npy", ROWS.numpy())
    with pytest.raises(ValueError, match="--backbones, --limit and --verify-checksums are for pictures"):
        tokens_to_fit(f"a={tmp_path}/a.npy", "paper", None)
    with pytest.raises(ValueError, match="has the tokens of one backbone and does not say which"):
        read_tokens(str(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    ("changes", "layer", "text"),
    [
        ({}, None, "has layers 3, 7; say which"),
        ({}, 5, "has no layer 5; it has 3, 7"),
        ({"d_vit": 4}, 3, "acts000000.bin has 144 bytes, and by metadata.json 192"),
        ({"n_imgs": 7}, 3, "acts000003.bin is missing"),
        ({"n_imgs": 0}, 3, "n_imgs or n_examples is 0; expected a whole number"),
        ({"layers": "all"}, 3, "layers is 'all'; expected a list of whole numbers"),
        ({"cls_token": 1}, 3, "cls_token is 1; expected true or false"),
        ({"n_patches_per_shard": 5}, 3, "no picture fits into a file of 5 tokens"),
    ],
)
def test_saev_files_that_are_refused(tmp_path, changes, layer, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_saev(write_saev(tmp_path / "acts", **changes), layer)
    assert text in str(found.value)
