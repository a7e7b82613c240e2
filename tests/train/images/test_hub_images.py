"""Pictures in Hugging Face datasets, written by the tests."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from coloured import canvas_of, png
from command_line import assert_one_error, run
from PIL import Image

from usae_train.images.classes import classes_of, need_classes
from usae_train.images.sources import open_images, read_batches


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
    assert failures[1].why == "row 4 cannot be read: the row has no picture"
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


def test_parquet_of_another_program_has_pictures_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says nowhere that its column of bytes and paths is one of pictures."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "kept").mkdir()
    rows = datasets.Dataset.from_dict({"photo": [{"bytes": png(n), "path": None} for n in range(2)], "label": [0, 1]})
    assert not isinstance(rows.features["photo"], datasets.Image)
    rows.to_parquet(tmp_path / "kept" / "train.parquet")
    source = open_images(f"hf:{tmp_path / 'kept'}")
    assert len(source) == 2
    torch.testing.assert_close(source.read(1, 8), canvas_of(1))


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


def test_a_folder_that_cannot_be_opened_is_not_said_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"^hf:.* cannot be opened: .*; check the folder and the split$"):
        open_images(f"hf:{tmp_path}")


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
    assert_one_error(result, "hf:nobody/nothing could not be downloaded: ")
    assert "check the id, the split and the network" in result[2]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [0, 1]),
        ("test", [2]),
        ("train+test", [0, 1, 2]),
        ("test + train[:50%]", [2, 0]),
        ("train[1:]", [1]),
        ("train[:-1]", [0]),
        ("train[-1:]+test", [1, 2]),
    ],
)
def test_slices_and_sums_of_splits_that_were_saved(rows, tmp_path: Path, split: str, expected: list[int]) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": rows.select([0, 1]), "test": rows.select([2])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = open_images(f"hf:{tmp_path / 'saved'}:{split}")
    assert len(source) == len(expected)
    for number, picture in enumerate(expected):
        torch.testing.assert_close(source.read(number, 8), canvas_of(picture))
    assert source.name == f"hf:{tmp_path / 'saved'}:{split}"
    assert open_images(source.name).fingerprint() == source.fingerprint()


@pytest.mark.parametrize("split", ["train[2:5]", "train[1:1]", "train[:0]", "test+train[7:]"])
def test_a_part_without_rows_is_one_line(rows, tmp_path: Path, split: str) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": rows.select([0, 1]), "test": rows.select([2])}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=rf": a part of '{re.escape(split)}' is empty; train has 2 rows$"):
        open_images(f"hf:{tmp_path / 'saved'}:{split}")


@pytest.mark.parametrize(("named", "own"), [(None, "train"), ("validation", "validation")])
def test_the_split_of_one_dataset_that_was_saved_is_honoured(rows, tmp_path: Path, named: str | None, own: str) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset(rows.data, split=named)
    rows.save_to_disk(tmp_path / "saved")
    place = f"hf:{tmp_path / 'saved'}"
    assert len(open_images(place)) == len(open_images(f"{place}:{own}")) == 5
    assert len(open_images(f"{place}:{own}[:40%]")) == 2
    for other in ("test", f"{own}+test", f"{own}x"):
        with pytest.raises(ValueError, match=rf"has no split '{other.replace('+', '.')}'; it has {own}$"):
            open_images(f"{place}:{other}")
    with pytest.raises(ValueError, match=rf"has no split '{own}\[9\]'; it has {own}: Unrecognized instruction format"):
        open_images(f"{place}:{own}[9]")


def test_of_several_columns_of_pictures_one_has_to_be_told(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {name: [{"bytes": png(n), "path": None}] for n, name in enumerate(("photo", "mask"))}
    features = datasets.Features(dict.fromkeys(columns, datasets.Image()))
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "saved")
    place = f"hf:{tmp_path / 'saved'}"
    for whole, split in ((place, ""), (f"{place}:train", "train")):
        told = rf"has 2 columns of pictures, photo and mask; say which, as in {place}:{split}:photo$"
        with pytest.raises(ValueError, match=told):
            open_images(whole)
    for number, name in enumerate(columns):
        for split in ("", "train", "train[:1]"):
            source = open_images(f"{place}:{split}:{name}")
            torch.testing.assert_close(source.read(0, 8), canvas_of(number))
            assert open_images(source.name).fingerprint() == source.fingerprint()
    with pytest.raises(ValueError, match="no column of pictures has that name; expected photo or mask"):
        open_images(f"{place}::label")


def test_a_row_whose_file_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "0.png").write_bytes(png(0))
    (tmp_path / "folder.png").mkdir()
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [str(tmp_path / name) for name in ("0.png", "gone.png", "folder.png")]
    rows = datasets.Dataset.from_dict({"photo": paths}).cast_column("photo", datasets.Image())
    (tmp_path / "kept").mkdir()
    parquet.write_table(rows.data.table, tmp_path / "kept" / "train.parquet")
    source = open_images(f"hf:{tmp_path / 'kept'}")
    torch.testing.assert_close(source.read(0, 8), canvas_of(0))
    with pytest.raises(ValueError, match=r"row 1 cannot be read: .*No such file or directory: .*gone\.png"):
        source.read(1, 8)
    with pytest.raises(ValueError, match=r"row 2 cannot be read: .*folder\.png cannot be read: it is a folder"):
        source.read(2, 8)


def test_palette_and_grey_pictures_of_a_dataset_come_as_colours(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    green = Image.new("P", (9, 9), 1)
    green.putpalette([0, 0, 0, 0, 255, 0])
    rows = datasets.Dataset.from_dict({"photo": [green, Image.new("L", (9, 9), 100)]})
    rows.cast_column("photo", datasets.Image()).save_to_disk(tmp_path / "saved")
    source = open_images(f"hf:{tmp_path / 'saved'}")
    assert source.read(0, 8)[:, 4, 4].tolist() == [0, 1, 0]
    assert source.read(1, 8)[:, 4, 4].tolist() == pytest.approx([100 / 255] * 3)


@pytest.mark.parametrize("name", ["a:b", "a:b[1]", "a.tar:x"])
def test_a_folder_with_colons_in_its_name_is_one(rows, tmp_path: Path, name: str) -> None:
    rows.save_to_disk(tmp_path / name)
    assert len(open_images(f"hf:{tmp_path / name}")) == 5
    assert len(open_images(f"hf:{tmp_path / name}:train[:2]:photo")) == 2


def test_of_several_columns_of_classes_none_is_taken_unless_told(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    labels = {"fine": datasets.ClassLabel(names=["a", "b"]), "coarse": datasets.ClassLabel(names=["c", "d"])}
    features = datasets.Features({"photo": datasets.Image(), **labels})
    pictures = [{"bytes": png(n), "path": None} for n in range(2)]
    rows = datasets.Dataset.from_dict({"photo": pictures, "fine": [0, 1], "coarse": [1, 0]}, features=features)
    rows.save_to_disk(tmp_path / "set")
    source = open_images(f"hf:{tmp_path / 'set'}")
    assert classes_of(source) is None
    with pytest.raises(ValueError, match="several columns of classes, fine and coarse; say which with --label-column"):
        need_classes(source)
    found = need_classes(source, "coarse")
    assert (found.names, found.numbers) == (("c", "d"), (1, 0))
