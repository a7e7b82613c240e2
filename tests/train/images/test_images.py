import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from usae_train.images.sources import DemoImages, FolderImages, open_images, read_batches

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def striped(width: int, height: int, colours: list[tuple[int, int, int]]) -> Image.Image:
    """Vertical stripes from left to right."""
    picture = Image.new("RGB", (width, height))
    for number, colour in enumerate(colours):
        picture.paste(colour, (number * width // len(colours), 0, width, height))
    return picture


def read(file: Path, size: int = 8) -> torch.Tensor:
    source = FolderImages(file.parent)
    return source.read([f.name for f in source.files].index(file.name), size)


def pixel(canvas: torch.Tensor, row: int, col: int) -> list[float]:
    return [round(value, 2) for value in canvas[:, row, col].tolist()]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp", "a.bmp", "a.tiff"])
def test_canvases_are_rgb_floats_of_the_asked_size(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (40, 30), (255, 128, 0)).save(tmp_path / name, quality=95)
    canvas = read(tmp_path / name)
    assert canvas.shape == (3, 8, 8)
    assert canvas.dtype == torch.float32
    torch.testing.assert_close(canvas[:, 4, 4], torch.tensor([1.0, 128 / 255, 0.0]), atol=0.02, rtol=0)


def test_the_centre_square_is_taken(tmp_path: Path) -> None:
    striped(60, 20, [RED, GREEN, BLUE]).save(tmp_path / "a.png")
    canvas = read(tmp_path / "a.png", 20)
    assert torch.equal(canvas, torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1).expand(3, 20, 20))


def test_left_stays_left_and_top_stays_top(tmp_path: Path) -> None:
    picture = striped(16, 16, [RED, GREEN])
    picture.paste(BLUE, (0, 8, 8, 16))
    picture.save(tmp_path / "a.png")
    canvas = read(tmp_path / "a.png", 16)
    assert pixel(canvas, 2, 2) == [1, 0, 0]
    assert pixel(canvas, 2, 13) == [0, 1, 0]
    assert pixel(canvas, 13, 2) == [0, 0, 1]


@pytest.mark.parametrize(
    ("orientation", "top_left", "bottom_right"), [(1, RED, BLUE), (3, BLUE, RED), (6, RED, BLUE), (8, BLUE, RED)]
)
def test_exif_rotation_is_undone(
    tmp_path: Path, orientation: int, top_left: tuple[int, ...], bottom_right: tuple[int, ...]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    striped(32, 32, [RED, BLUE]).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    canvas = read(tmp_path / "a.jpg", 32)
    for row, col, colour in [(2, 2, top_left), (29, 29, bottom_right)]:
        torch.testing.assert_close(canvas[:, row, col], torch.tensor(colour) / 255, atol=0.1, rtol=0)
    # stripes that stood lie after a quarter turn
    other = top_left if orientation in (6, 8) else bottom_right
    torch.testing.assert_close(canvas[:, 2, 29], torch.tensor(other) / 255, atol=0.1, rtol=0)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 100).save(tmp_path / "a.png")
    torch.testing.assert_close(read(tmp_path / "a.png"), torch.full((3, 8, 8), 100 / 255))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (255, 0, 0, 102)).save(tmp_path / "a.png")
    Image.new("LA", (9, 9), (0, 0)).save(tmp_path / "b.png")
    assert pixel(read(tmp_path / "a.png"), 4, 4) == [1.0, 0.6, 0.6]
    assert pixel(read(tmp_path / "b.png"), 4, 4) == [1.0, 1.0, 1.0]


def test_a_palette_with_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (0, 0, 255, 0)).convert("P").save(tmp_path / "a.png", transparency=0)
    picture = Image.new("P", (9, 9), 1)
    picture.putpalette([0, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "b.gif", transparency=0)
    assert pixel(read(tmp_path / "b.gif"), 4, 4) == [0, 1, 0]


def test_sixteen_bit_grey_keeps_its_tone(tmp_path: Path) -> None:
    Image.frombytes("I;16", (8, 8), (20000).to_bytes(2, "little") * 64).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0, 0, 0].item() == pytest.approx(20000 / 65535, abs=0.01)


def test_files_are_found_below_the_folder_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("c.png", "b/x.PNG", "a.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    source = FolderImages(tmp_path)
    assert [source.label(i) for i in range(len(source))] == ["a.jpg", "b/x.PNG", "c.png"]
    assert len(open_images(tmp_path, 2)) == 2


def test_a_file_name_that_is_no_utf8_is_written_out(tmp_path: Path) -> None:
    picture = Image.new("RGB", (9, 9), RED)
    picture.save(tmp_path / "a.png")
    try:
        os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xfc.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    source = FolderImages(tmp_path)
    assert source.label(0) == r"\xfc.png"
    assert source.fingerprint().isascii()
    assert pixel(source.read(0, 8), 0, 0) == [1, 0, 0]


def test_the_fingerprint_changes_with_the_files(picture_folder: Path) -> None:
    first = FolderImages(picture_folder).fingerprint()
    assert FolderImages(picture_folder).fingerprint() == first
    assert open_images(picture_folder, 5).fingerprint() != first
    (picture_folder / "0.png").rename(picture_folder / "00.png")
    assert FolderImages(picture_folder).fingerprint() != first


def test_a_corrupt_picture_is_skipped_and_reported(picture_folder: Path) -> None:
    file = picture_folder / "2.png"
    file.write_bytes(file.read_bytes()[:200])
    (picture_folder / "4.png").write_bytes(b"")
    source = FolderImages(picture_folder)
    with pytest.raises(ValueError, match=r"2\.png cannot be read: "):
        source.read(2, 8)
    batches = list(read_batches(source, 8, 3))
    assert [numbers for numbers, _, _ in batches] == [[0, 1], [3, 5]]
    assert [len(canvases) for _, canvases, _ in batches] == [2, 2]
    assert torch.equal(batches[1][1][1], source.read(5, 8))
    failures = [failure for _, _, broken in batches for failure in broken]
    assert [(failure.number, failure.why[:5]) for failure in failures] == [(2, "2.png"), (4, "4.png")]


def test_one_wrong_byte_of_exif_makes_a_broken_picture_and_no_traceback(picture_folder: Path) -> None:
    picture = striped(32, 24, [RED, BLUE])
    tags = picture.getexif()
    tags[0x0112], tags[0x0132] = 6, "2020:01:01"  # lies on its side; a date, as text
    picture.save(picture_folder / "3.jpg", exif=tags)
    written = bytearray((picture_folder / "3.jpg").read_bytes())
    written[written.index(b"Exif") + 29] = 7  # the date's type: of the form of bytes, which PIL cannot write back
    (picture_folder / "3.jpg").write_bytes(written)
    numbers, _, failures = zip(*read_batches(FolderImages(picture_folder), 8, 16), strict=True)
    assert len(numbers[0]) == 6
    assert [why.why.partition(": ")[0] for why in failures[0]] == ["3.jpg cannot be read"]


def test_pictures_of_different_sizes_make_one_batch(tmp_path: Path) -> None:
    for number, size in enumerate([(5, 90), (64, 64), (300, 2)]):
        Image.new("RGB", size, RED).save(tmp_path / f"{number}.png")
    ((numbers, canvases, _),) = read_batches(FolderImages(tmp_path), 16, 8)
    assert numbers == [0, 1, 2]
    assert torch.equal(canvases, torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 3, 16, 16))


def test_folders_without_pictures_missing_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no pictures in .*; expected files ending in \.jpg, \.png"):
        open_images(tmp_path)
    with pytest.raises(ValueError, match=r"no folder '.*nowhere'; expected a folder of pictures, or `demo`"):
        open_images(tmp_path / "nowhere")
    (tmp_path / "a.png").write_text("")
    with pytest.raises(ValueError, match=r"'.*a\.png' is a file; expected a folder of pictures"):
        open_images(tmp_path / "a.png")
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"limit is {limit}; expected 1 picture or more"):
            open_images("demo", limit)
    for unnamed in ("", "hf:"):  # Path("") is the folder that one is in
        with pytest.raises(ValueError, match=f"no pictures named: '{unnamed}'"):
            open_images(unnamed)


def test_demo_scenes_do_not_depend_on_the_order_of_reading() -> None:
    source = DemoImages(200)
    first = {index: source.read(index, 24) for index in (70, 3, 71, 130)}
    for index in (130, 71, 3, 70):
        assert torch.equal(DemoImages(150).read(index, 24), first[index])
        assert torch.equal(source.read(index, 24), first[index])
    assert not torch.equal(first[70], first[71])


def test_demo_labels_belong_to_the_pixels() -> None:
    source, fresh = DemoImages(10), DemoImages(10)
    labels = source.labels(5, 24)
    assert {factor: value.shape for factor, value in labels.items()} == dict.fromkeys(
        ("colour", "texture", "shape"), torch.Size([24, 24])
    )
    fresh.read(5, 24)
    assert all(torch.equal(value, fresh.labels(5, 24)[factor]) for factor, value in labels.items())
    background = labels["shape"] == 0
    assert len(labels["colour"][background].unique()) <= 1


def test_demo_splits_share_no_scene() -> None:
    train, held_out, test = (open_images(name).read(0, 24) for name in ("demo:train", "demo", "demo:test"))
    assert not torch.equal(train, held_out)
    assert not torch.equal(test, held_out)
    assert open_images("demo").name == "demo"
    assert open_images("demo:test", 3).name == "demo:test"
    assert len(open_images("demo", 7)) == 7


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown split 'tset' of the demo scenes; expected one of train, held-out, t"):
        open_images("demo:tset")


@pytest.mark.parametrize("size", [33, 96])
def test_scenes_of_the_demo_are_the_same_drawn_together(size):
    scenes, numbers = open_images("demo", 200), [3, 70, 71, 199, 5]
    alone = torch.stack([scenes.read(number, size) for number in numbers])
    assert torch.equal(scenes.read_together(numbers, size), alone)
