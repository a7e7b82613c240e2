"""Other pictures are told from those that something was measured on, and records of earlier versions still hold."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from usae_train.images import fingerprints
from usae_train.images.fingerprints import Content, content_of, fingerprint_of, same_pictures, same_setting
from usae_train.images.sources import open_images


def bitmap(file: Path, colour: int) -> None:
    """Of one size, whatever it shows."""
    Image.new("L", (300, 300), colour).save(file, "BMP")


def test_other_pictures_of_equal_names_and_sizes_are_others(tmp_path: Path) -> None:
    for number in range(3):
        bitmap(tmp_path / f"{number}.bmp", number)
    before = open_images(tmp_path).fingerprint()
    assert open_images(tmp_path).fingerprint() == before
    bitmap(tmp_path / "1.bmp", 77)
    after = open_images(tmp_path).fingerprint()
    assert after.partition("+")[0] == before.partition("+")[0]
    assert not same_pictures(before, after)
    bitmap(tmp_path / "1.bmp", 1)
    os.utime(tmp_path / "1.bmp", (0, 0))  # when a file was changed is nothing of the picture's
    assert open_images(tmp_path).fingerprint() == before


def test_a_fingerprint_of_before_was_of_names_and_sizes_and_still_holds(picture_folder: Path) -> None:
    source = open_images(picture_folder)
    digest = sha256()
    for number, file in enumerate(source.files):
        digest.update(f"{source.label(number)}\0{file.stat().st_size}\n".encode())
    before = digest.hexdigest()
    assert same_pictures(source.fingerprint(), before)
    assert same_pictures(before, source.fingerprint())
    (picture_folder / "0.png").write_bytes(b"of another size")
    assert not same_pictures(open_images(picture_folder).fingerprint(), before)


def test_what_is_no_fingerprint_is_compared_as_it_is() -> None:
    assert same_pictures("demo-train-9", "demo-train-9")
    assert not same_pictures("demo-train-9", "demo-train-8")
    assert not same_pictures(None, None)
    assert not same_pictures("a+b", None)
    assert same_setting("fingerprint", "a", "a+b")
    assert not same_setting("fingerprint", "a+c", "a+b")
    assert not same_setting("pictures", "a", "a+b")


def test_the_middle_of_a_large_picture_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "PART_BYTES", 10)
    found = set()
    for number, place in enumerate((None, 0, 45, 54, 99, 30)):
        content = bytearray(100)
        if place is not None:
            content[place] = 1
        (tmp_path / f"{number}").write_bytes(content)
        found.add(fingerprint_of([("a", content_of(tmp_path / f"{number}"))], 1))
    assert len(found) == 5  # the last differs where it is not looked at
    short = {fingerprint_of([("a", Content(str(tmp_path / f"{n}"), 0, 31, 0))], 1) for n in range(6)}
    assert len(short) == 3


def test_of_many_pictures_some_spread_over_all_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "FINGERPRINTED_FILES", 5)
    (tmp_path / "a").write_bytes(b"ab")
    one, other = Content(str(tmp_path / "a"), 0, 1, 0), Content(str(tmp_path / "a"), 1, 1, 0)
    changed = [
        fingerprint_of(((str(n), other if n == number else one) for n in range(10)), 10) for number in range(-1, 10)
    ]
    assert [found != changed[0] for found in changed[1:]] == [True, False] * 5


def test_a_member_of_a_shard_is_looked_at_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"..one..two")
    first, second = (fingerprint_of([("x", Content(str(tmp_path / "a"), start, 3, 0))], 1) for start in (2, 7))
    assert first.rpartition("+")[2] == sha256(sha256(b"one").digest()).hexdigest()
    assert second.rpartition("+")[2] == sha256(sha256(b"two").digest()).hexdigest()
