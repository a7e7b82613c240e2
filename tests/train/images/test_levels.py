"""Whole-number pictures of other ranges come out as their files say, or are refused."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from usae_train.images.decoding import read_picture
from usae_train.images.picture_input import open_picture

SIDE = 4


def tiff(code: str, value: int, bits: int | None = None, samples: int = 1, **tags: int) -> bytes:
    """An uncompressed little-endian TIFF of one value; `code` is struct's for it, `s262=0` a tag of the file."""
    body = struct.pack(f"<{code}", value) * (SIDE * SIDE * samples)
    if bits == 12:
        body = int(f"{value:03x}" * 2, 16).to_bytes(3, "big") * (SIDE * SIDE // 2)
    known = {
        256: SIDE,
        257: SIDE,
        258: bits or 8 * struct.calcsize(code),
        259: 1,
        262: 1,
        277: samples,
        278: SIDE,
        279: len(body),
        339: 2 if code.islower() else 1,
    }
    known |= {int(tag[1:]): own for tag, own in tags.items()}
    directory, beside = b"", 8
    known[273] = beside + 12  # where the body begins, behind the bits and the sign of each channel
    for tag, number in sorted(known.items()):
        if samples > 1 and tag in (258, 339):
            directory += struct.pack("<HHII", tag, 3, samples, beside)
            beside += 6
        elif 0 <= number <= 0xFFFF:
            directory += struct.pack("<HHIHxx", tag, 3, 1, number)
        else:
            directory += struct.pack("<HHIi", tag, 9, 1, number)
    channels = struct.pack("<3H3H", *[known[258]] * 3, *[known[339]] * 3)
    header = b"II*\0" + struct.pack("<I", 8 + 12 + len(body)) + channels
    return header + body + struct.pack("<H", len(known)) + directory + bytes(4)


def tone(content: bytes, folder: Path) -> float:
    (folder / "a.tif").write_bytes(content)
    canvas = read_picture(folder / "a.tif", SIDE)
    assert canvas.min() == canvas.max()
    return float(canvas[0, 0, 0]) * 255


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff("H", 20000), 20000 / 65535 * 255),
        (tiff("H", 1000, s340=0, s341=4095), 1000 / 4095 * 255),  # 12 bits in 16
        (tiff("H", 1000, s281=4095), 1000 / 4095 * 255),
        (tiff("H", 1000, s281=1234), 1000 / 65535 * 255),  # of a statistic nothing follows
        (tiff("H", 1000, bits=12), 1000 / 4095 * 255),
        (tiff("H", 20000, s262=0), 255 - 20000 / 65535 * 255),  # white is zero
        (tiff("H", 1000, s262=0, s341=4095), 255 - 1000 / 4095 * 255),
        (tiff("h", 0, s340=-1000, s341=1000), 127.5),
        (tiff("h", -3000, s340=-1000, s341=1000), 0),  # beyond what it says
        (tiff("i", 200, s340=0, s341=255), 200),
        (tiff("I", 3_000_000_000, s341=2_000_000_000), 255),  # which PIL takes for a negative number
        (tiff("I", 500_000_000, s341=2_000_000_000), 63.75),
        (tiff("b", -100, s340=-128, s341=127), 28),
        (tiff("B", 200), 200),
        (tiff("B", 200, s262=0), 55),
    ],
)
def test_numbers_are_scaled_by_what_the_file_says(content: bytes, expected: float, tmp_path: Path) -> None:
    assert tone(content, tmp_path) == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (tiff("h", 200), "its pixels are signed whole numbers of 16 bits of unknown range; convert it to 8 bits"),
        (tiff("i", 200), "its pixels are signed whole numbers of 32 bits of unknown range"),
        (tiff("I", 200), "its pixels are whole numbers of 32 bits of unknown range"),
        (tiff("b", -3), "its pixels are signed whole numbers of 8 bits of unknown range"),
        (tiff("h", 200, s341=4095), "its pixels are signed whole numbers of 16 bits of unknown range"),
        (tiff("H", 200, s340=9, s341=9), "its numbers are to reach from 9 to 9"),
        (tiff("H", 1000, s262=2, samples=3, s341=4095), "its colours reach to 4095, of 65535"),
    ],
)
def test_numbers_of_an_unknown_range_are_refused(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"a\.tif cannot be read: {why}"):
        tone(content, tmp_path)


def test_colours_of_sixteen_bits_keep_their_tone(tmp_path: Path) -> None:
    assert tone(tiff("H", 51400, s262=2, samples=3), tmp_path) == pytest.approx(200)


def test_other_formats_of_sixteen_bits_keep_their_tone(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 1 1 4095\n" + (1000).to_bytes(2, "big"))
    Image.frombytes("I;16", (1, 1), (20000).to_bytes(2, "little")).save(tmp_path / "b.png")
    assert float(read_picture(tmp_path / "a.pgm", 1)[0]) == pytest.approx(1000 / 4095, abs=0.003)
    assert float(read_picture(tmp_path / "b.png", 1)[0]) == pytest.approx(20000 / 65535, abs=0.003)


def test_a_fault_in_our_own_scaling_is_no_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(tiff("H", 1000))

    monkeypatch.setattr("usae_train.images.decoding.to_eight_bits", lambda: None)  # which takes no picture
    with pytest.raises(TypeError, match="positional arguments"):
        read_picture(tmp_path / "a.tif", SIDE)
    with pytest.raises(TypeError, match="positional arguments"), Image.open(tmp_path / "a.tif") as opened:
        open_picture(opened)


def test_a_level_that_is_text_is_refused_in_one_line(tmp_path: Path) -> None:
    content = tiff("H", 1000, s341=4095)
    as_text = content.replace(struct.pack("<HHIHxx", 341, 3, 1, 4095), struct.pack("<HHI4s", 341, 2, 4, b"abc\0"))
    assert as_text != content
    (tmp_path / "a.tif").write_bytes(as_text)
    with pytest.raises(ValueError, match=r"a\.tif cannot be read: its TIFF tag 341 is not a whole number"):
        read_picture(tmp_path / "a.tif", SIDE)
