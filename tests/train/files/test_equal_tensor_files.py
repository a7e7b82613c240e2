"""Files of tensors are the same to the byte, whenever they are written and by whichever process."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from stores import SPECS, make_pictures, write
from toys import toy_tokens

import usae_train as ut
from usae_train.files.tensor_files import save_tensors

ABOUT = {
    "usae_sha256": "0" * 64,
    "source": json.dumps({"images": 'ein "Bild" \x07 \\ ü 画', "n": None}),
    "a": "",
    "z": "1",
}


def header_of(file: Path) -> str:
    content = file.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")].decode()


def test_words_are_in_the_order_of_their_keys_and_all_is_read_as_it_was(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6).view(2, 3).T, "a": torch.ones(3, dtype=torch.half)}
    for number in range(12):  # safetensors would come upon this order by chance once in 24 times
        save_tensors(tensors, tmp_path / str(number), ABOUT)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(12)}) == 1
    with safe_open(tmp_path / "0", "pt") as opened:
        assert opened.metadata() == ABOUT
    assert list(json.loads(header_of(tmp_path / "0"))["__metadata__"]) == sorted(ABOUT)
    assert all(torch.equal(own, tensors[name]) for name, own in load_file(tmp_path / "0").items())


@pytest.mark.parametrize("about", [None, {"one": "word"}])
def test_without_two_words_it_is_what_safetensors_writes(tmp_path: Path, about: dict[str, str] | None) -> None:
    save_tensors({"a": torch.ones(3)}, tmp_path / "a", about)
    with safe_open(tmp_path / "a", "pt") as opened:
        assert opened.metadata() == about


def test_equal_stores_and_fits_are_equal_to_the_byte(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    for name in "ab":
        write(pictures, tmp_path / name / "store")
        kwargs = {"n_concepts": 12, "k": 3, "steps": 3, "batch": 8}
        ut.save(ut.fit(tmp_path / name / "store", **kwargs), tmp_path / name / "usae")
        ut.save(ut.fit(toy_tokens(), **kwargs), tmp_path / name / "bare")
        ut.save(ut.fit(pictures, backbones=SPECS, max_broken=0.2, **kwargs), tmp_path / name / "seen")
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) == 5 + 4 + 2 * 5  # without pictures there are no maps of where concepts fire
    differing = [
        str(file) for file in files if (tmp_path / "a" / file).read_bytes() != (tmp_path / "b" / file).read_bytes()
    ]
    assert differing == []
