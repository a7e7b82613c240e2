"""Names that are no UTF-8 are kept as text, and files and folders of such names are read as they were written."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import usae_train as ut
from usae_train.files.place_names import named_place, printable
from usae_train.files.tensor_files import load_file, safe_open
from usae_train.model.checkpoint import save


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of a name that is no UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfc"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    return folder


def test_tensors_are_read_where_they_are_written(place: Path) -> None:
    save_file({"a": torch.arange(4)}, place / "a.safetensors", {"of": "tests"})
    assert torch.equal(load_file(place / "a.safetensors")["a"], torch.arange(4))
    with safe_open(place / "a.safetensors", "pt") as opened:
        assert opened.metadata() == {"of": "tests"}
        assert torch.equal(opened.get_slice("a")[1:3], torch.tensor([1, 2]))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: it is a pipe; expected a file"):
        load_file(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="it is a folder"), safe_open(tmp_path, "pt"):
        pass


def test_a_name_is_kept_as_text_and_found_again(place: Path) -> None:
    kept = printable(str(place))
    assert kept.endswith(r"/\xfc")
    assert named_place(kept) == place == named_place(place)
    named = place.with_name(r"\xfc")
    named.mkdir()
    assert named_place(kept) == named  # what is called just so goes before
    assert named_place(r"a\x41") == Path(r"a\x41")  # which `printable` never writes


def test_a_usae_and_its_statistics_read_back(place: Path) -> None:
    usae = ut.fit({"a": torch.randn(64, 5)}, n_concepts=8, k=2, steps=1, batch=16)
    save(usae, place / "usae")
    for named in (place / "usae", printable(str(place / "usae"))):
        found = ut.load(named)
        assert torch.equal(found.statistics.fires, usae.statistics.fires)
        assert found.source == printable(str(place / "usae"))
