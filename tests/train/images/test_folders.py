"""Which files below a folder are pictures, and what is said of the others."""

import os
import socket
from pathlib import Path

import pytest
from coloured import canvas_of, png
from command_line import run
from PIL import Image, features

from usae_train.images.kinds import endings
from usae_train.images.sources import FolderImages, open_images


def written(folder: Path, *names: str) -> Path:
    """Files of one picture each."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number % 6))
    return folder


def labels(folder: Path) -> list[str]:
    source = FolderImages(folder)
    return [source.label(number) for number in range(len(source))]


def test_folders_that_are_links_are_followed(tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere", "x.png", "deep/y.png")
    folder = written(tmp_path / "pictures", "b/z.png")
    (folder / "a").symlink_to(elsewhere)
    assert labels(folder) == ["a/deep/y.png", "a/x.png", "b/z.png"]
    assert FolderImages(folder).left_out == ""


def test_each_real_folder_is_gone_through_once_and_where_it_lies(tmp_path: Path) -> None:
    folder = written(tmp_path / "pictures", "b/x.png")
    (folder / "a").symlink_to(folder / "b")
    (folder / "c").symlink_to(folder / "b")
    assert labels(folder) == ["b/x.png"]
    assert FolderImages(folder).left_out == f"2 left out of {folder}: 2 folders that are there twice"


@pytest.mark.parametrize("target", [".", "..", "../..", "loop"])
def test_a_loop_of_links_ends_and_takes_nothing_from_above(tmp_path: Path, target: str) -> None:
    written(tmp_path, "other/y.png")
    folder = written(tmp_path / "pictures", "a/x.png")
    (folder / "a" / "loop").symlink_to(target)
    assert labels(folder) == ["a/x.png"]
    assert FolderImages(folder).left_out.startswith(f"1 left out of {folder}: 1 ")


def test_two_folders_that_lead_to_each_other_end(tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere", "y.png")
    folder = written(tmp_path / "pictures", "x.png")
    (folder / "there").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert labels(folder) == ["there/y.png", "x.png"]


def test_hidden_and_companion_files_are_left_out_and_said(tmp_path: Path) -> None:
    hidden = [
        "._x.png",
        ".thumb.png",
        ".ipynb_checkpoints/x.png",
        "@eaDir/x.png/SYNOPHOTO.jpg",
        ".Trash/x.png",
        "__MACOSX/x.png",
    ]
    folder = written(tmp_path / ".pictures", "x.png", *hidden)  # the folder that is asked for may be hidden
    assert labels(folder) == ["x.png"]
    assert FolderImages(folder).left_out == f"6 left out of {folder}: 6 hidden"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JFIF", "JPEG"),
        ("a.jpe", "JPEG"),
        ("a.avif", "AVIF"),
        ("a.jp2", "JPEG2000"),
        ("a.ppm", "PPM"),
        ("a.apng", "PNG"),
        ("a.tga", "TGA"),
        ("a", "JPEG"),
        ("b c", "PNG"),
        ("a_webp", "WEBP"),
        ("a", "AVIF"),
        ("a", "TIFF"),
        ("a", "JPEG2000"),
    ],
)
def test_what_pil_reads_is_taken_also_without_an_ending(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this PIL has no AVIF")
    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / name, kind)
    source = FolderImages(tmp_path)
    assert [file.name for file in source.files] == [name]
    assert source.read(0, 8)[0].mean() > 0.9


def test_what_is_no_picture_is_counted_by_its_kind(tmp_path: Path) -> None:
    folder = written(tmp_path, "x.png")
    for name in ("a.txt", "b.TXT", "c.heic", "README", "Python", "BM", "no ending. It is a sentence", "x.eps"):
        (folder / name).write_text(f"{name} is text")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    source = FolderImages(folder)
    assert [file.name for file in source.files] == ["x.png"]
    assert source.left_out == (
        f"10 left out of {folder}: 3 without an ending, 2 .txt, 1 .eps, 1 .heic, 1 link that leads nowhere, "
        "1 of other endings, 1 pipe, socket or device"
    )
    (folder / "x.png").unlink()
    with pytest.raises(ValueError, match=r"no pictures in .*; expected files ending in \.jpg, .*; 10 left out of "):
        open_images(folder)


def test_formats_that_start_other_programs_are_not_read(tmp_path: Path) -> None:
    """By name or in disguise; this one is harmless, and no picture either."""
    assert {".jpg", ".mpo", ".tif"} < endings()
    assert not endings() & {".eps", ".ps", ".wmf", ".mpg", ".h5", ".pdf"}
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"a\.png cannot be read: it is not a picture of a kind that PIL knows"):
        FolderImages(tmp_path).read(0, 8)


def test_a_folder_whose_name_is_no_utf8_reads_back_by_its_record(tmp_path: Path, folder_of_no_utf8: Path) -> None:
    written(folder_of_no_utf8, "x.png")
    source = open_images(folder_of_no_utf8)
    assert source.name == rf"{tmp_path}/\xfc"
    assert open_images(source.name).fingerprint() == source.fingerprint()
    assert (open_images(source.name).read(0, 8) == canvas_of(0)).all()


def test_pipes_and_sockets_of_a_pictures_name_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("a")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("b.png")
        with pytest.raises(ValueError, match=r"2 left out of \.: 2 pipes, sockets or devices"):
            open_images(".")


def test_a_command_says_what_is_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path / "pictures", "x.png", "notes.txt", "._x.png")
    code, _, said = run("spectrum", folder, "--size", "16", "--out", tmp_path / "s.safetensors")
    assert code == 0
    assert said == f"2 left out of {folder}: 1 .txt, 1 hidden\n"
