"""Pictures in tar shards and in Hugging Face datasets, written by the tests."""

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from command_line import assert_one_error, run
from PIL import Image

from usae_train.pictures.images import FolderImages, open_images, read_batches
from usae_train.pictures.tar_images import TarImages, fetched


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), (40 * number, 0, 255 - 40 * number)).save(file, "PNG")
    return file.getvalue()


def canvas_of(number: int) -> torch.Tensor:
    return (torch.tensor([40 * number, 0, 255 - 40 * number]) / 255).view(3, 1, 1).expand(3, 8, 8)


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Five samples in two shards, number 3 broken; with labels, and a second picture that is another field."""
    first = {f"{n}.{ending}": content for n in range(3) for ending, content in (("cls", b"7"), ("PNG", png(n)))}
    write_tar(tmp_path / "a-000.tar", {**first, "2.mask.png": png(6)})
    write_tar(tmp_path / "a-001.tar", {"d/3.png": png(3)[:30], "d/4.png": png(4), "d/4.jpg": png(5), "notes.txt": b""})
    return str(tmp_path / "a-{000..001}.tar")


def test_shards_are_read_in_any_order_by_stable_numbers(shards: str) -> None:
    source = open_images(shards)
    assert isinstance(source, TarImages)
    labels = ["a-000.tar/0.PNG", "a-000.tar/1.PNG", "a-000.tar/2.PNG", "a-001.tar/d/3.png", "a-001.tar/d/4.png"]
    assert [source.label(n) for n in range(len(source))] == labels
    for number in (4, 0, 2, 1):
        torch.testing.assert_close(source.read(number, 8), canvas_of(number))
    with pytest.raises(ValueError, match=r"a-001\.tar/d/3\.png cannot be read: "):
        source.read(3, 8)
    assert len(open_images(shards, 2)) == 2
    assert open_images(source.name).fingerprint() == source.fingerprint() != open_images(shards, 4).fingerprint()


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_members_are_left_out_also_by_workers(shards: str, workers: int) -> None:
    ((numbers, canvases, failures),) = read_batches(open_images(shards), 8, 8, workers=workers)
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
    assert said[0] == "a.tar/0.png cannot be read: it is no picture of a kind that PIL knows"


@pytest.mark.usefixtures("shards")
def test_several_patterns_are_places_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(
        "usae_train.pictures.tar_images.fetched", lambda url: asked.append(url) or tmp_path / "a-001.tar"
    )
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
    assert_one_error(run("spectrum", tmp_path / "cut.tar", *out), "cut.tar is no whole, uncompressed tar file")
    assert_one_error(run("spectrum", tmp_path / "text.tar", *out), "text.tar is no whole, uncompressed tar file")
    assert_one_error(run("spectrum", tmp_path / "empty.tar", *out), "no pictures in")


@pytest.mark.parametrize("damage", ["a header that is none", "half a header", "no end"])
def test_a_shard_that_ends_between_two_members_is_refused(tmp_path: Path, damage: str) -> None:
    write_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(4)})
    whole = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as opened:
        third = opened.getmember("2.png").offset
    cut = {"a header that is none": whole[:third] + b"?" * 512 + whole[third + 512 :],
           "half a header": whole[: third + 256], "no end": whole[:third]}[damage]  # fmt: skip
    (tmp_path / "a.tar").write_bytes(cut)
    with pytest.raises(ValueError, match=rf"a\.tar is no whole, .*: after 2 members, at byte {third}, it is cut short"):
        open_images(tmp_path / "a.tar")


def test_a_member_whose_name_is_no_utf8_is_written_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"\udcfc.png": png(0)})
    source = open_images(tmp_path / "a.tar")
    assert source.label(0) == r"a.tar/\xfc.png"
    assert len(source.fingerprint()) == 64


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
        fetched("http://127.0.0.1:9/a.tar")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("images", "package", "extra"), [("a.tar", "webdataset", "webdataset"), ("hf:a", "datasets", "hf")]
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, images: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"this needs the package '{package}'; pip install \"usae\[{extra}\]\""):
        open_images(images)


@pytest.fixture
def rows():
    datasets = pytest.importorskip("datasets")
    pictures = [{"bytes": png(n), "path": None} for n in range(3)] + [{"bytes": b"broken", "path": None}, None]
    features = datasets.Features({"label": datasets.Value("int64"), "photo": datasets.Image()})
    return datasets.Dataset.from_dict({"label": list(range(5)), "photo": pictures}, features=features)


def assert_rows(images: str) -> None:
    source = open_images(images)
    assert len(source) == 5
    for number in (2, 0):
        torch.testing.assert_close(source.read(number, 8), canvas_of(number))
    ((numbers, _, failures),) = read_batches(source, 8, 8)
    assert numbers == [0, 1, 2]
    assert [failure.why[:22] for failure in failures] == ["row 3 cannot be read: ", "row 4 cannot be read: "]
    assert open_images(source.name).fingerprint() == source.fingerprint() != open_images(images, 4).fingerprint()


def test_a_dataset_that_was_saved_to_disk(rows, tmp_path: Path) -> None:
    rows.save_to_disk(tmp_path / "saved")
    assert_rows(f"hf:{tmp_path / 'saved'}")


def test_a_dict_of_splits(rows, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": rows.select([0]), "test": rows}).save_to_disk(tmp_path / "saved")
    assert len(open_images(f"hf:{tmp_path / 'saved'}")) == 1
    assert_rows(f"hf:{tmp_path / 'saved'}:test")
    with pytest.raises(ValueError, match="has no split 'tset'; it has train, test"):
        open_images(f"hf:{tmp_path / 'saved'}:tset")


def test_a_folder_of_parquet(rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "kept").mkdir()
    rows.to_parquet(tmp_path / "kept" / "train.parquet")
    assert_rows(f"hf:{tmp_path / 'kept'}")
    assert len(open_images(f"hf:{tmp_path / 'kept'}:train[:2]")) == 2


def test_the_fingerprint_is_of_the_pictures(rows, tmp_path: Path) -> None:
    rows.save_to_disk(tmp_path / "a")
    rows.select([0, 2, 1, 3, 4]).save_to_disk(tmp_path / "b")
    rows.save_to_disk(tmp_path / "c")
    one, other, same = (open_images(f"hf:{tmp_path / name}").fingerprint() for name in "abc")
    assert one == same != other
    digest = hashlib.sha256(b"5\0photo\n")
    for content in (png(0), png(1), png(2), b"broken", b""):
        digest.update(hashlib.sha256(content).digest())
    assert one == digest.hexdigest()


def test_a_dataset_without_pictures_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="has no column of pictures; its columns are text, label"):
        open_images(f"hf:{tmp_path / 'saved'}")


def test_without_a_network_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    result = run("spectrum", "hf:nobody/nothing", "--out", tmp_path / "s.safetensors")
    assert_one_error(result, "hf:nobody/nothing could not be had: ")
    assert "check the id, the split and the network" in result[2]


def test_a_folder_called_tar_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "0.png").write_bytes(png(0))
    assert isinstance(open_images(tmp_path / "x.tar"), FolderImages)
