"""Which class a picture is of: its folder, or a dataset's label."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from usae_train.images.classes import classes_of, classes_or_none, need_classes
from usae_train.images.sources import open_images
from usae_train.runtime.warning_kinds import UnreadPicturesWarning


def picture(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(place)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/deep/2.png", "dog/3.png", "stray.png"):
        picture(tmp_path / name)
    return tmp_path


def test_a_folders_first_folder_is_the_class(labelled: Path) -> None:
    source = open_images(labelled)
    found = need_classes(source)
    assert found.names == ("cat", "dog")
    of = {source.label(number): own for number, own in enumerate(found.numbers)}
    assert of == {"cat/1.png": 0, "cat/deep/2.png": 0, "dog/3.png": 1, "stray.png": -1}
    assert found.counts == [2, 1]


def test_some_pictures_of_it_keep_theirs(labelled: Path) -> None:
    source = open_images(labelled).chosen([0, 2])  # type: ignore[attr-defined]
    assert need_classes(source).numbers == (0, 1)


@pytest.mark.parametrize("names", [("1.png", "2.png"), ("cat/1.png", "cat/2.png")])
def test_a_folder_without_two_classes_is_one_line(names, tmp_path: Path) -> None:
    for name in names:
        picture(tmp_path / name)
    assert classes_of(open_images(tmp_path)) is None
    with pytest.raises(ValueError, match="has no labels: expected a folder with a folder for each of at least two"):
        need_classes(open_images(tmp_path))


def test_the_demo_has_none_and_a_folder_no_columns(labelled: Path) -> None:
    assert classes_of(open_images("demo", 4)) is None
    with pytest.raises(ValueError, match="has no column 'kind': only a dataset"):
        classes_of(open_images(labelled), "kind")


def shard(file: Path, classes: dict[str, bytes | None]) -> str:
    """A WebDataset's shard: samples by their names, with what their `.cls` holds; None for a sample without one."""
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    members = {}
    for name, own in classes.items():
        members |= {f"{name}.cls": own} if own is not None else {}
        members |= {f"{name}.png": content.getvalue()}
    with tarfile.open(file, "w") as opened:
        for name, own in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(own)
            opened.addfile(info, io.BytesIO(own))
    return str(file)


def test_a_webdatasets_cls_is_the_class(tmp_path: Path) -> None:
    file = shard(tmp_path / "a.tar", {"d/0": b"7", "d/1": b" great  white\n", "d/2": b"7\n", "3": None, "4": b"-1"})
    source = open_images(file)
    found = need_classes(source)
    assert found.names == ("7", "great white")
    assert {source.label(n): own for n, own in enumerate(found.numbers)} == {
        "a.tar/d/0.png": 0,
        "a.tar/d/1.png": 1,
        "a.tar/d/2.png": 0,
        "a.tar/3.png": -1,
        "a.tar/4.png": -1,
    }
    assert need_classes(source.chosen([1, 2])).numbers == (1, 0)  # type: ignore[attr-defined]
    assert need_classes(open_images(f"{file}:png")).numbers == found.numbers
    assert open_images(shard(tmp_path / "b.tar", {"0": None})).fingerprint()
    with pytest.raises(ValueError, match=r"a WebDataset with a \.cls beside each picture"):
        need_classes(open_images(str(tmp_path / "b.tar")))


@pytest.mark.parametrize(("held", "why"), [(b"\xff\xfe", "can't decode"), (b"7" * 1001, "it has 1,001 bytes")])
def test_a_cls_that_is_none_is_one_line(held: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"the \.cls of a\.tar/0\.png cannot be read: .*; expected a number"
    ) as refusal:
        need_classes(open_images(shard(tmp_path / "a.tar", {"0": held, "1": b"7"})))
    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_cls_that_is_none_does_not_end_an_evaluation_that_asks_for_no_classes(tmp_path: Path) -> None:
    source = open_images(shard(tmp_path / "a.tar", {"0": b"\xff\xfe", "1": b"7"}))
    with pytest.warns(
        UnreadPicturesWarning, match=r"the \.cls of a\.tar/0\.png cannot be read: .*; classes are left out"
    ):
        assert classes_or_none(source, None) is None
    with pytest.raises(ValueError, match="has no column 'kind'"):
        classes_or_none(source, "kind")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "kind": datasets.Value("string"),
            "size": datasets.Value("float32"),
        }
    )
    pictures = [Image.new("RGB", (8, 8), (40 * n, 0, 0)) for n in range(3)]
    columns = {"image": pictures, "label": [1, None, 0], "kind": ["b", "a", "b"], "size": [0.5, 1, 2]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def test_a_datasets_column_of_classes(dataset: Path) -> None:
    source = open_images(f"hf:{dataset}")
    found = need_classes(source)
    assert (found.names, found.numbers) == (("cat", "dog"), (1, -1, 0))
    assert need_classes(source.chosen([2, 0])).numbers == (0, 1)  # type: ignore[attr-defined]


def test_another_column_of_a_dataset(dataset: Path) -> None:
    source = open_images(f"hf:{dataset}")
    found = need_classes(source, "kind")
    assert (found.names, found.numbers) == (("a", "b"), (1, 0, 1))
    with pytest.raises(ValueError, match="has no column 'knd'; its columns are image, label, kind, size"):
        classes_of(source, "knd")
    with pytest.raises(ValueError, match="column 'size' is not a label"):
        classes_of(source, "size")
