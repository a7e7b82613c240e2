import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from usae_train.files.atomic import atomic_path
from usae_train.files.provenance import file_hash
from usae_train.images.colour import from_canvas, to_canvas
from usae_train.images.sources import FolderImages
from usae_train.images.spectrum import load_spectrum, mean_magnitude, save_spectrum
from usae_train.runtime.errors import UsageError
from usae_train.runtime.terminal import one_line_errors, pick_device


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        temporary.chmod(0o600)
        assert not target.exists()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert os.listdir(target.parent) == ["file.txt"]


def test_an_old_file_stays_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def stop_halfway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("new")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ValueError, match=r"file/x cannot be written: .*choose another place"),
        atomic_path(tmp_path / "file" / "x"),
    ):
        pass


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_errors_are_one_line_whatever_their_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise UsageError("first\n   second")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: first second\n"


def test_ctrl_c_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_pick_device() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="no device 'cuda:99' here"):
        pick_device("cuda:99")


def test_colour_there_and_back() -> None:
    canvas = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    torch.testing.assert_close(to_canvas(from_canvas(canvas)), canvas, atol=1e-5, rtol=1e-5)


def test_grey_has_one_colour_axis_alone() -> None:
    decorrelated = from_canvas(torch.full((1, 3, 1, 1), 0.7)).flatten()
    assert decorrelated[0].abs() > 10 * decorrelated[1].abs()


def test_the_spectrum_of_an_even_picture_is_its_mean_alone(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (204, 51, 102)).save(tmp_path / "a.png")
    magnitude = mean_magnitude(FolderImages(tmp_path), 32)
    logits = from_canvas(torch.tensor([0.8, 0.2, 0.4]).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(magnitude[:, 0, 0], 32 * logits.abs(), atol=1e-3, rtol=1e-3)
    assert magnitude.flatten(1)[:, 1:].max() < 1e-3


def test_the_spectrum_is_the_mean_over_readable_pictures(picture_folder: Path) -> None:
    source = FolderImages(picture_folder)
    canvases = torch.stack([source.read(i, 16) for i in (0, 2, 3, 4, 5)])
    expected = torch.fft.rfft2(from_canvas(canvases), norm="ortho").abs().mean(0)
    (picture_folder / "1.png").write_text("broken")
    torch.testing.assert_close(mean_magnitude(FolderImages(picture_folder), 16), expected)


def test_spectra_survive_the_disk(picture_folder: Path, tmp_path: Path) -> None:
    source = FolderImages(picture_folder)
    magnitude = mean_magnitude(source, 16)
    assert torch.equal(mean_magnitude(source, 16, readers=2), magnitude)
    save_spectrum(magnitude, tmp_path / "s.safetensors", source)
    assert torch.equal(load_spectrum(tmp_path / "s.safetensors"), magnitude.half().float())


def test_what_is_no_spectrum_is_refused(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.safetensors").write_text("broken")
    with pytest.raises(ValueError, match=r"s\.safetensors is not a spectrum: .*make one with usae-train spectrum"):
        load_spectrum(tmp_path / "s.safetensors")
    save_spectrum(torch.ones(3, 16, 16), tmp_path / "t.safetensors", FolderImages(picture_folder))
    with pytest.raises(ValueError, match=r"has a spectrum of shape \(3, 16, 16\); expected \(3, s, s // 2 \+ 1\)"):
        load_spectrum(tmp_path / "t.safetensors")
    broken = torch.ones(3, 16, 9)
    broken[0, 3, 3] = torch.nan
    for wrong in (broken, -torch.ones(3, 16, 9), torch.ones(3, 2, 2), torch.ones(3, 1, 1)):
        save_spectrum(wrong, tmp_path / "u.safetensors", FolderImages(picture_folder))
        with pytest.raises(ValueError, match=r"u\.safetensors is not a spectrum: expected at least 16 rows of finite"):
            load_spectrum(tmp_path / "u.safetensors")
    save_spectrum(torch.zeros(3, 16, 9), tmp_path / "flat.safetensors", FolderImages(picture_folder))
    save_file({"weight": torch.ones(3, 16, 9)}, tmp_path / "model.safetensors")
    for name in ("flat", "model"):
        with pytest.raises(
            ValueError, match=rf"{name}\.safetensors is not a spectrum: no `magnitude` in it that is not 0"
        ):
            load_spectrum(tmp_path / f"{name}.safetensors")
