"""Names that are no UTF-8 are kept as text, and files and folders of such names are read as they were written."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import usae_train as ut
from usae_train.files.place_names import name_as_utf8, path_of_name
from usae_train.files.tensor_files import load_file, safe_open
from usae_train.model.checkpoint import save


def test_tensors_are_read_where_they_are_written(folder_of_no_utf8: Path) -> None:
    save_file({"a": torch.arange(4)}, folder_of_no_utf8 / "a.safetensors", {"of": "tests"})
    assert torch.equal(load_file(folder_of_no_utf8 / "a.safetensors")["a"], torch.arange(4))
    with safe_open(folder_of_no_utf8 / "a.safetensors", "pt") as opened:
        assert opened.metadata() == {"of": "tests"}
        assert torch.equal(opened.get_slice("a")[1:3], torch.tensor([1, 2]))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: it is a pipe; expected a file"):
        load_file(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="it is a folder"), safe_open(tmp_path, "pt"):
        pass


def test_a_name_is_kept_as_text_and_found_again(folder_of_no_utf8: Path) -> None:
    kept = name_as_utf8(str(folder_of_no_utf8))
    assert kept.endswith(r"/\xfc")
    assert path_of_name(kept) == folder_of_no_utf8 == path_of_name(folder_of_no_utf8)
    named = folder_of_no_utf8.with_name(r"\xfc")
    named.mkdir()
    assert path_of_name(kept) == named  # what is called just so goes before
    assert path_of_name(r"a\x41") == Path(r"a\x41")  # which `name_as_utf8` never writes


def test_a_usae_and_its_statistics_read_back(folder_of_no_utf8: Path) -> None:
    usae = ut.fit({"a": torch.randn(64, 5)}, n_concepts=8, k=2, steps=1, batch=16)
    save(usae, folder_of_no_utf8 / "usae")
    for named in (folder_of_no_utf8 / "usae", name_as_utf8(str(folder_of_no_utf8 / "usae"))):
        found = ut.load(named)
        assert torch.equal(found.statistics.fires, usae.statistics.fires)
        assert found.source == name_as_utf8(str(folder_of_no_utf8 / "usae"))


@pytest.mark.parametrize("open_it", [ut.open_images, ut.load])
def test_the_home_of_nobody_is_one_line(open_it) -> None:
    with pytest.raises(
        ValueError, match="this machine has no home directory of ~nobody-of-this-name; write the path in full"
    ):
        open_it("~nobody-of-this-name/x")
