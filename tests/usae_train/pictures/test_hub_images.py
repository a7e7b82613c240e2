"""Pictures in Hugging Face datasets, written by the tests."""

import hashlib
from pathlib import Path

import pytest
import torch
from coloured import canvas_of, png
from command_line import assert_one_error, run

from usae_train.pictures.images import open_images, read_batches


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
