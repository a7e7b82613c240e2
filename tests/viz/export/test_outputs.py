import numpy as np
import pytest
import torch
from PIL import Image

import usae_viz as uv
from usae_train.images.arrays import to_uint8
from usae_train.images.sources import read_picture
from usae_viz.export.animation import write_frames
from usae_viz.export.naming import objective_folder
from usae_viz.export.png import opacity, to_picture, write_png
from usae_viz.export.sheet import CELL, COLOUR, MARGIN, PATCH_SIDE, ROW, STRIP, score_line, sheet
from usae_viz.runs.plan import folders_of, plan_objectives
from usae_viz.runs.render import render_plan
from usae_viz.verification.score import Score
from usae_viz.verification.scores import Scores

QUICK = {"views": 2, "size": 32}


@pytest.fixture(scope="module")
def drawn(usae):
    """Five steps, of which every second is kept, and the transparency too."""
    return uv.maximize(usae, uv.Concept(3), steps=5, snapshots=2, alpha=True, **QUICK)


def test_alpha_makes_what_was_never_asked_for_clear(drawn, tmp_path):
    folder = drawn.save(tmp_path) / "concept-00003"
    for name in drawn.images:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.mode == "RGBA"
            pixels = np.asarray(picture)
        assert pixels[..., 3].min() == 0
        assert pixels[..., 3].max() == 255
        assert np.array_equal(pixels[..., :3], np.asarray(to_picture(drawn.images[name])))
        asked = drawn.alpha[name]
        assert asked.shape == (32, 32)
        assert (asked.min() >= 0, asked.max() == 1) == (True, True)
        strong, weak = pixels[..., 3][asked > asked.quantile(0.9)], pixels[..., 3][asked < asked.quantile(0.1)]
        assert strong.mean() > weak.mean() + 50


def test_metadata_can_be_asked_for_by_its_former_name(drawn):
    with pytest.warns(UserWarning, match="about is called metadata now"):
        assert drawn.about("left") == drawn.metadata("left")


def test_without_alpha_a_png_has_no_transparency(usae, tmp_path):
    folder = uv.maximize(usae, uv.Concept(3), steps=1, **QUICK).save(tmp_path) / "concept-00003"
    with Image.open(folder / "left.png") as picture:
        assert picture.mode == "RGB"


def test_opacity_by_hand():
    """A ramp stays one; its lowest and highest tenths become clear and opaque."""
    shown = opacity(torch.arange(100.0).expand(100, -1))
    assert (shown[:, :5] == 0).all()
    assert (shown[:, 95:] == 1).all()
    assert shown[50, 49:51].mean() == pytest.approx(0.5, abs=0.01)
    assert (shown.diff(dim=1) >= 0).all()
    assert opacity(torch.ones(20, 20)).isfinite().all()


LONG = "Concept(12, backbone='left') - Concept(12, backbone='right')"


def ink_in(page, box):
    """Whether anything is drawn in a part of a page."""
    return np.asarray(page.crop(box).convert("L")).min() < 255


def test_a_title_is_broken_into_lines_that_fit(drawn):
    """The page of one picture is 420 px wide, and this title 560: it was cut off at the right."""
    pictures = {"left": to_picture(drawn.images["left"])}
    pages = [sheet(title, pictures, drawn.scores, {}) for title in ("short", LONG, "many words " * 99, "x" * 99)]
    assert [page.width for page in pages] == [420] * 4
    assert [page.height - pages[0].height for page in pages] == [0, 24, 48, 0]
    for page in pages[:3]:
        assert not ink_in(page, (420 - MARGIN, 0, 420, page.height))
    for page in pages:  # what stands below the title has moved with it
        below = page.height - pages[0].height + MARGIN + 50
        assert page.crop((MARGIN, below, MARGIN + CELL, below + CELL)) == pages[0].crop(
            (MARGIN, MARGIN + 50, MARGIN + CELL, MARGIN + 50 + CELL)
        )


def test_a_pictures_name_ends_where_the_picture_does(drawn):
    long = "a-variant-of-so-many-letters-as-there-can-be-coupled-left-seed-17"
    page = sheet("title", {long: to_picture(drawn.images["left"])}, None, {})
    assert ink_in(page, (MARGIN, MARGIN + 30, MARGIN + CELL, MARGIN + 50))
    assert not ink_in(page, (MARGIN + CELL + 1, MARGIN + 30, 420, MARGIN + 50))


@pytest.mark.parametrize(
    ("names", "columns", "rows"),
    [
        ([f"{name}-seed-{seed}" for seed in range(4) for name in ("left", "right")], 8, 1),
        ([f"{name}-seed-{seed}" for seed in range(10) for name in ("left", "right")], 2, 10),
        ([f"shared-seed-{seed}" for seed in range(12)], 5, 3),
        ([f"backbone-{number}" for number in range(9)], 9, 1),
    ],
    ids=["few", "seeds", "shared", "backbones"],
)
def test_many_seeds_get_a_row_each(drawn, names, columns, rows):
    """Ten seeds of three backbones made a ribbon of 7092 x 492 pixels."""
    one = sheet("title", {"left": to_picture(drawn.images["left"])}, None, {})
    page = sheet("title", dict.fromkeys(names, to_picture(drawn.images["left"])), None, {})
    assert page.width == MARGIN + columns * (CELL + MARGIN)
    assert page.height == one.height + (rows - 1) * ROW


def test_what_stands_under_a_picture_that_failed_is_why():
    """In `shared` the backbone with the smallest code need not be the one in which too few tokens fire."""
    row = {"left": Score(2.0, 3, 0.031, 80.0), "right": Score(1.5, 4, 0.4, 70.0)}
    one, both = Scores(3, {"left": row}, {"left": ("left",)}), Scores(3, {"shared": row}, {"shared": tuple(row)})
    assert score_line(one, "left") == ("FAILED: fires in 3.1% of tokens", COLOUR["failed"])
    assert score_line(both, "shared") == ("FAILED in left: fires in 3.1% of tokens", COLOUR["failed"])


def test_without_a_concept_no_patches_are_missed(drawn):
    pictures = {"left": to_picture(drawn.images["left"])}
    below = (0, MARGIN + 50 + CELL + 2, 420, MARGIN + 50 + CELL + 60)
    assert ink_in(sheet("title", pictures, drawn.scores, {}), below)  # "no patches at hand"
    assert not ink_in(sheet("title", pictures, None, {}), below)


@pytest.mark.parametrize("drawn_for", ["left", "left right"], ids=["its own", "shared"])
def test_patches_stand_under_a_picture_only_where_it_is_their_backbones_alone(drawn, drawn_for):
    """Of pictures for several backbones the first stood over one's patches, the next over another's."""
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff"))
    pictures = dict.fromkeys(("one", "two", "three"), to_picture(drawn.images["left"]))
    own = {"one": ("right",), "two": ("left",), "three": tuple(drawn_for.split())}
    scores = Scores(3, dict.fromkeys(pictures, drawn.scores["left"]), own)
    page = sheet("title", pictures, scores, {"left": [red] * 6, "right": [blue] * 6})
    top = MARGIN + 50 + CELL + 26 + 18 + PATCH_SIDE // 2
    columns = [page.getpixel((MARGIN + number * (CELL + MARGIN) + 9, top)) for number in range(3)]
    below = page.getpixel((MARGIN + 9, top + STRIP))
    if drawn_for == "left":  # which has them already
        assert columns == [(0, 0, 255), (255, 0, 0), (255, 255, 255)]
        assert below == (0, 0, 255)  # the second row of three
    else:
        assert columns[:2] == [(255, 0, 0)] * 2
        assert below == (0, 0, 255)
        assert page.getpixel((MARGIN + 5 * (PATCH_SIDE + 4) + 9, top)) == (255, 0, 0)  # six beside each other


def test_patches_of_a_picture_alone_for_several_backbones_are_all_there(drawn):
    """The page of one picture had the patches of one backbone, and was too narrow for six beside each other."""
    patch = Image.new("RGB", (8, 8), "#ff0000")
    page = sheet("title", {"shared": to_picture(drawn.images["left"])}, None, {"left": [patch] * 6, "right": [patch]})
    top = MARGIN + 50 + CELL + 26 + 18 + PATCH_SIDE // 2
    assert page.getpixel((page.width - MARGIN - 9, top)) == page.getpixel((MARGIN + 9, top + STRIP)) == (255, 0, 0)
    assert page.height - (top + STRIP + PATCH_SIDE // 2) < 3 * MARGIN


def test_a_given_picture_stands_first_on_the_sheet(drawn):
    given = torch.zeros(3, 32, 32)
    given[0] = 1  # red
    pictures = {name: to_picture(canvas) for name, canvas in drawn.images.items()}
    plain = sheet("title", pictures, drawn.scores, {})
    beside = sheet("title", pictures, drawn.scores, {}, given)
    assert plain.width == MARGIN + 2 * (CELL + MARGIN)
    assert (beside.width, beside.height) == (plain.width + CELL + MARGIN, plain.height)
    middle = (MARGIN + CELL // 2, MARGIN + 50 + CELL // 2)
    assert beside.getpixel(middle) == (255, 0, 0)
    assert plain.getpixel(middle) == beside.getpixel((middle[0] + CELL + MARGIN, middle[1]))


def test_a_run_with_a_given_picture_has_it_on_its_sheet(usae, tmp_path):
    start = torch.full((3, 32, 32), 0.5)
    accentuated = uv.accentuate(usae, uv.Concept(3), start, steps=1, **QUICK)
    with Image.open(accentuated.save(tmp_path) / accentuated.folder / "sheet.png") as page:
        assert page.width == MARGIN + 3 * (CELL + MARGIN)


def test_results_and_scores_show_themselves(drawn):
    picture = drawn.scores.heat_map()
    assert isinstance(picture, Image.Image)
    assert len(picture.getcolors(10**6)) > 10  # not an empty page
    assert drawn._repr_png_().startswith(b"\x89PNG\r\n")
    assert drawn.scores._repr_html_().count("<tr>") == 1 + len(drawn.images)
    assert repr(drawn.scores) == str(drawn.scores)
    assert repr(drawn).startswith("<Result of concept 3: left ")


def test_alpha_does_not_change_the_pixels(tmp_path):
    canvas = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    write_png(tmp_path / "plain.png", canvas, {})
    write_png(tmp_path / "alpha.png", canvas, {}, torch.rand(16, 16))
    plain, alpha = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("plain", "alpha"))
    assert np.array_equal(plain, alpha[..., :3])


@pytest.mark.parametrize(
    ("objective", "folder"),
    [
        (uv.Concept(412), "concept-00412"),
        (uv.Concept(412, pool="max"), "objective-concept-412-pool-max"),
        (uv.Concept(3) - 0.5 * uv.Concept(7), "objective-concept-3-minus-0.5-concept-7"),
        (uv.Channel("left", 3), "objective-channel-left-3"),
    ],
    ids=str,
)
def test_an_objectives_folder_says_what_it_is(objective, folder):
    assert objective_folder(objective) == folder


def test_objectives_of_the_same_words_have_folders_of_their_own(usae, tmp_path):
    alike = [uv.Concept(3) + uv.Concept(5), uv.Concept(3) * uv.Concept(5), uv.Concept(3)]
    first = objective_folder(alike[0])
    assert list(folders_of(alike).values()) == [first, f"{first}-2", "concept-00003"]
    written = render_plan(usae, plan_objectives(usae, alike[:2], [uv.MaximizeSettings(steps=1, **QUICK)]), tmp_path)
    assert [drawn.folder.name for drawn in written] == [first, f"{first}-2"]
    assert (tmp_path / f"{first}-2" / "left.png").is_file()


def test_every_one_of_256_levels_is_kept_wherever_a_canvas_becomes_a_picture(tmp_path):
    """Rounded down, 63 of them became the next lower, in PNGs and top-activating patches, not in animations."""
    exact = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    canvas = exact / 255
    write_png(tmp_path / "plain.png", canvas, {})
    write_frames(tmp_path / "moving.gif", [canvas])
    for file in ("plain.png", "moving.gif"):
        with Image.open(tmp_path / file) as picture:
            assert np.array_equal(np.asarray(picture.convert("RGB")), exact.permute(1, 2, 0)), file
    assert torch.equal(to_uint8(read_picture(tmp_path / "plain.png", 16)), exact)
    assert torch.equal(to_uint8(canvas - 0.499 / 255), exact)
    assert to_uint8(torch.tensor([-1.0, 2.0])).tolist() == [0, 255]
