"""Pictures in tar shards, written by the tests."""

import io
import os
import re
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from coloured import canvas_of, png
from command_line import assert_one_error, run

from usae_train.files.provenance import install_command
from usae_train.images.shard_patterns import count_of, expand_shards
from usae_train.images.sources import FolderImages, open_images, read_batches
from usae_train.images.tar import TarImages, fetch_shard


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Five samples in two shards, number 3 broken; with labels, and masks behind and before pictures."""
    first = {f"{n}.{ending}": content for n in range(3) for ending, content in (("cls", b"7"), ("PNG", png(n)))}
    write_tar(tmp_path / "a-000.tar", {**first, "2.mask.png": png(6)})
    write_tar(tmp_path / "a-001.tar", {"d/3.png": png(3)[:30], "d/4.png": png(5), "d/4.jpg": png(4), "notes.txt": b""})
    return str(tmp_path / "a-{000..001}.tar")


def test_shards_are_read_in_any_order_by_stable_numbers(shards: str) -> None:
    source = open_images(shards)
    assert isinstance(source, TarImages)
    labels = ["a-000.tar/0.PNG", "a-000.tar/1.PNG", "a-000.tar/2.PNG", "a-001.tar/d/3.png", "a-001.tar/d/4.jpg"]
    assert [source.label(n) for n in range(len(source))] == labels
    for number in (4, 0, 2, 1):
        torch.testing.assert_close(source.read(number, 8), canvas_of(number))
    with pytest.raises(ValueError, match=r"a-001\.tar/d/3\.png cannot be read: "):
        source.read(3, 8)
    assert len(open_images(shards, 2)) == 2
    assert open_images(source.name).fingerprint() == source.fingerprint() != open_images(shards, 4).fingerprint()


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_members_are_left_out_also_by_workers(shards: str, workers: int) -> None:
    ((numbers, canvases, failures),) = read_batches(open_images(shards), 8, 8, readers=workers)
    assert numbers == [0, 1, 2, 4]
    torch.testing.assert_close(canvases[3], canvas_of(4))
    assert [(failure.number, failure.why[:18]) for failure in failures] == [(3, "a-001.tar/d/3.png ")]


def test_a_broken_member_is_one_however_often_it_is_read(tmp_path: Path) -> None:
    """`BrokenPictures` counts by what is said."""
    write_tar(tmp_path / "a.tar", {"0.png": b"none", "1.png": b"", "2.png": png(2)[:30]})
    source, kept = open_images(tmp_path / "a.tar"), []
    said = []
    for _ in range(3):
        for number in range(3):
            kept.append(bytearray(1 << number))  # so that objects lie elsewhere next time
            with pytest.raises(ValueError, match=rf"^a\.tar/{number}\.png cannot be read: ") as refusal:
                source.read(number, 8)
            said.append(str(refusal.value))
            kept.append(refusal)
    assert len(set(said)) == 3
    assert said[0] == "a.tar/0.png cannot be read: it is not a picture of a kind that PIL knows"


@pytest.mark.usefixtures("shards")
def test_several_patterns_are_places_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("usae_train.images.tar.fetch_shard", lambda url: asked.append(url) or tmp_path / "a-001.tar")
    source = TarImages("a-000.tar::http://here/b.tar::a-001.tar")
    assert asked == ["http://here/b.tar"]
    assert source.name == f"{tmp_path}/a-000.tar::http://here/b.tar::{tmp_path}/a-001.tar"
    assert len(source) == 3 + 2 + 2


def test_shards_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    write_tar(tmp_path / "whole.tar", {"0.png": bytes(4000)})
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:2000])
    (tmp_path / "text.tar").write_text("no tar " * 200)
    write_tar(tmp_path / "empty.tar", {"a.txt": b"none"})
    out = ["--out", tmp_path / "s.safetensors"]
    assert_one_error(run("spectrum", tmp_path / "cut.tar", *out), "cut.tar is not a whole, uncompressed tar file")
    assert_one_error(run("spectrum", tmp_path / "text.tar", *out), "text.tar is not a whole, uncompressed tar file")
    assert_one_error(run("spectrum", tmp_path / "empty.tar", *out), "no pictures in")


@pytest.mark.parametrize("damage", ["a header that is none", "half a header", "no end"])
def test_a_shard_that_ends_between_two_members_is_refused(tmp_path: Path, damage: str) -> None:
    write_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(4)})
    whole = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as opened:
        third = opened.getmember("2.png").offset
    cut = {
        "a header that is none": whole[:third] + b"?" * 512 + whole[third + 512 :],
        "half a header": whole[: third + 256],
        "no end": whole[:third],
    }[damage]
    (tmp_path / "a.tar").write_bytes(cut)
    with pytest.raises(
        ValueError, match=rf"a\.tar is not a whole, .*: after 2 members, at byte {third}, it is cut short"
    ):
        open_images(tmp_path / "a.tar")


def test_a_member_whose_name_is_no_utf8_is_written_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"\udcfc.png": png(0)})
    source = open_images(tmp_path / "a.tar")
    assert source.label(0) == r"a.tar/\xfc.png"
    assert source.fingerprint().isascii()


def test_shards_at_urls_are_fetched_once(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def download(url: str, place: str, progress: bool) -> None:
        assert not progress
        calls.append(url)
        Path(place).write_bytes((tmp_path / url.rpartition("/")[2]).read_bytes())

    monkeypatch.setenv("USAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    pattern = "https://example.org/a-{000..001}.tar"
    assert len(open_images(pattern)) == len(open_images(pattern)) == 5
    assert calls == ["https://example.org/a-000.tar", "https://example.org/a-001.tar"]
    assert open_images(pattern).fingerprint() == open_images(shards).fingerprint()


def test_a_url_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USAE_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:9/a\.tar could not be fetched: .*check the address"):
        fetch_shard("http://127.0.0.1:9/a.tar")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("images", "package", "extra"), [("a.tar", "webdataset", "webdataset"), ("hf:a", "datasets", "hf")]
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, images: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"this needs the package '{package}'; {re.escape(install_command(extra))}"):
        open_images(images)


def test_a_folder_called_tar_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "0.png").write_bytes(png(0))
    assert isinstance(open_images(tmp_path / "x.tar"), FolderImages)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["holiday v2.5.jpg", "holiday v2.6.jpg"], ["holiday v2.5.jpg", "holiday v2.6.jpg"]),
        (["2019.01.01 lake.png", "2019.01.02.png"], ["2019.01.01 lake.png", "2019.01.02.png"]),
        (["0.cls", "0.image.jpg", "1.IMAGE.JPG"], ["0.image.jpg", "1.IMAGE.JPG"]),
        (["0.png", "0.jpg", "1.jpg", "1.png"], ["0.jpg", "1.jpg"]),
        (["0.mask.png", "0.png", "1.seg_map.png", "1.left.png"], ["0.png", "1.left.png"]),
        (["0.png", "0.image.png"], ["0.image.png"]),
        (["0.depth.png", "a.b/1.png"], ["a.b/1.png"]),
        (["./0.png", "./._0.png", "__MACOSX/._0.png", ".git/1.png"], ["./0.png"]),
    ],
)
def test_the_picture_of_a_sample_is_known_by_its_name(tmp_path: Path, members: list[str], expected: list[str]) -> None:
    write_tar(tmp_path / "a.tar", {name: png(0) for name in members})
    source = open_images(tmp_path / "a.tar")
    assert [source.label(n).removeprefix("a.tar/") for n in range(len(source))] == expected


@pytest.mark.parametrize(("first", "second"), [("left.png", "right.png"), ("jpg", "webp"), ("png", "tif")])
def test_a_sample_with_several_pictures_is_refused_unless_a_field_is_told(
    tmp_path: Path, first: str, second: str
) -> None:
    write_tar(tmp_path / "a.tar", {f"d/{n}.{field}": png(n) for n in range(2) for field in (first, second)})
    place = tmp_path / "a.tar"
    with pytest.raises(ValueError, match=rf"sample d/0 has 2 pictures, {first} and {second}; .*shard\.tar:{first}"):
        open_images(place)
    for field in (second, f"none;{second}", second.upper()):
        source = open_images(f"{place}:{field}")
        assert source.label(1) == f"a.tar/d/1.{second}"
        assert open_images(source.name).fingerprint() == source.fingerprint()
        assert source.left_out == f"2 left out of {place}:{field}: 2 {first} beside a picture"
    with pytest.raises(ValueError, match=rf"no pictures in .*2 samples without a picture \({first}, {second}\)"):
        open_images(f"{place}:other.png")


def test_what_of_a_shard_is_left_out_is_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0.png": png(0), "0.mask.png": png(1), "1.heic": b"", "1.txt": b"", "._0.png": b""})
    with tarfile.open(tmp_path / "a.tar", "a") as opened:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.LNKTYPE, "0.png"
        opened.addfile(link)
    assert open_images(tmp_path / "a.tar").left_out == (
        f"4 left out of {tmp_path / 'a.tar'}: 1 hidden, 1 link, pipe or device, 1 mask.png beside a picture, "
        "1 sample without a picture (heic, txt)"
    )


def test_of_members_of_one_name_the_first_is_taken_and_the_others_are_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0.png": png(0)})
    with tarfile.open(tmp_path / "a.tar", "a") as opened:
        again = tarfile.TarInfo("0.png")
        again.size = len(png(1))
        opened.addfile(again, io.BytesIO(png(1)))
    source = open_images(tmp_path / "a.tar")
    assert source.left_out == f"1 left out of {tmp_path / 'a.tar'}: 1 with the name of an earlier one"
    torch.testing.assert_close(source.read(0, 8), canvas_of(0))


def test_a_member_that_claims_more_than_there_is_is_broken_and_others_go_on(tmp_path: Path) -> None:
    """A sparse one says what it would be with its holes."""
    write_tar(tmp_path / "a.tar", {"0.png": bytes(512), "1.png": png(1)})
    whole = bytearray((tmp_path / "a.tar").read_bytes())
    whole[156:157] = tarfile.GNUTYPE_SPARSE
    whole[386:410], whole[483:495] = b"00000000000\0" + b"%011o\0" % 512, tarfile.itn(10**12, 12, tarfile.GNU_FORMAT)
    whole[148:156] = b"%06o\0 " % (sum(whole[:512]) - sum(whole[148:156]) + 8 * ord(" "))
    (tmp_path / "a.tar").write_bytes(whole)
    source = open_images(tmp_path / "a.tar")
    torch.testing.assert_close(source.read(1, 8), canvas_of(1))
    with pytest.raises(ValueError, match=r"a\.tar/0\.png cannot be read: it claims 1,000,000,000,000 bytes; expected"):
        source.read(0, 8)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_a_terabyte_is_one_line_and_no_memory(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("0.png")
    header.type, header.size = kind, 10**12
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ValueError, match=r"a\.tar is not a whole, uncompressed tar file: "):
        open_images(tmp_path / "a.tar")


def test_a_pipe_for_a_shard_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(ValueError, match=r"a\.tar cannot be read: it is a pipe; expected a file"):
        open_images(tmp_path / "a.tar")


def test_shards_in_a_folder_whose_name_is_no_utf8_read_back_by_their_record(
    tmp_path: Path, folder_of_no_utf8: Path
) -> None:
    write_tar(folder_of_no_utf8 / "0.tar", {"0.png": png(0)})
    source = open_images(f"{folder_of_no_utf8}/{{0..0}}.tar")
    assert source.name == rf"{tmp_path}/\xfc/{{0..0}}.tar"
    assert open_images(source.name).fingerprint() == source.fingerprint()


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("a.tar", 1),
        ("{000..999}.tar", 1000),
        ("{9..0..3}", 4),
        ("{1..5..0}", 5),
        ("{a,b{1..3},}x{0..1}", 10),
        ("{{00..99}}", 100),
        ("{one}", 1),
        ("{a..e}", 5),
        ("{-2..2}", 5),
        ("{0..9}::b{0..4}", 15),
    ],
)
def test_shards_are_counted_as_they_are_written_out(pattern: str, count: int) -> None:
    import webdataset

    assert len(expand_shards(pattern, webdataset.shardlists)) == count == sum(map(count_of, pattern.split("::")))


def test_an_escaped_brace_is_none() -> None:
    import webdataset

    assert expand_shards(r"\{0..999999999", webdataset.shardlists) == ["{0..999999999"]


@pytest.mark.parametrize(
    "pattern", ["{000..999999999}.tar", "{0..999}{0..999}{0..1}.tar", "{0..9}::" + "{a,b}" * 30, "{a..z}" * 8]
)
def test_a_pattern_of_too_many_shards_is_refused_before_it_is_written_out(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"names [\d,]+ shards; expected 1,000,000 at most: check its numbers"):
        expand_shards(pattern, None)


@pytest.mark.parametrize("pattern", ["{0..9.tar", "0..9}.tar", "}{"])
def test_braces_that_do_not_pair_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"unbalanced braces in .*; expected a pattern such as shards/\{000"):
        expand_shards(pattern, None)


def test_a_mask_that_is_a_sample_of_its_own_is_left_out_and_said(tmp_path: Path) -> None:
    """`5_mask.png` is no field of `5`, by WebDataset's first dot; a word alone, or beside nothing, says no mask."""
    members = {"5.jpg": png(0), "5_mask.png": png(1), "d/6.png": png(2), "d/6-Depth.png": png(3), "mask.png": png(4)}
    write_tar(tmp_path / "a.tar", {**members, "7_seg.png": png(5), "5_left.png": png(6), "d/5_mask.png": png(7)})
    source = open_images(str(tmp_path / "a.tar"))
    taken = ["5.jpg", "d/6.png", "mask.png", "7_seg.png", "5_left.png", "d/5_mask.png"]
    assert [source.label(number).partition("/")[2] for number in range(len(source))] == taken
    assert source.left_out.endswith("1 -Depth.png beside a picture, 1 _mask.png beside a picture")
    asked = open_images(f"{tmp_path / 'a.tar'}:png")
    assert len(asked) == len(members) + 2  # what is asked for by its field is taken


def test_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("5.png", "5_mask.png", "d/5_mask.png", "7_seg.png"):
        (tmp_path / name).write_bytes(png(0))
    source = FolderImages(tmp_path)
    assert [source.label(number) for number in range(len(source))] == ["5.png", "7_seg.png", "d/5_mask.png"]
    assert source.left_out == f"1 left out of {tmp_path}: 1 _mask.png beside a picture"
