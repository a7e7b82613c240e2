import os

import pytest
import torch
from PIL import Image

import usae_viz as uv
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.export.png import read_png, to_picture
from usae_viz.export.provenance import given_hashes
from usae_viz.objectives import Closeness, SameCodes

QUICK = {"views": 2, "size": 32}


@pytest.fixture(scope="module")
def given():
    """A smooth picture, (3, 32, 32)."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 0.9 + 0.05
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")[0]


@pytest.mark.parametrize("image", ["fourier", "maco", "pixel"])
@pytest.mark.parametrize("mode", ["per-model", "shared", "coupled"])
def test_the_first_canvas_is_the_given_picture(usae, given, image, mode):
    result = uv.maximize(usae, uv.Concept(3), start=given, image=image, mode=mode, steps=2, snapshots=1, **QUICK)
    for frames in result.frames.values():
        assert torch.allclose(frames[0], given, atol=1e-4)
        assert not torch.allclose(frames[1], given, atol=1e-4)
    assert torch.equal(result.given, given)


def test_a_picture_file_is_the_same_start_as_its_pixels(usae, given, tmp_path):
    file = tmp_path / "given.png"
    to_picture(given).save(file)
    exact = {"dtype": "float32", **QUICK}  # bfloat16 makes a last bit's difference large
    from_file = uv.maximize(usae, uv.Concept(3), start=file, steps=2, **exact)
    pixels = (given * 255).round() / 255  # as the file keeps them
    from_tensor = uv.maximize(usae, uv.Concept(3), start=pixels, steps=2, **exact)
    assert torch.allclose(from_file.images["left"], from_tensor.images["left"], atol=1e-4)
    assert from_file.settings.start == str(file)
    assert from_tensor.settings.start.startswith("tensor of sha256 ")
    from_file.save(tmp_path / "run")
    assert read_png(tmp_path / "run" / "concept-00003" / "left.png")["settings"]["start"] == str(file)


def test_the_centre_square_of_a_larger_picture_is_made_to_fit(usae, given):
    large = torch.nn.functional.interpolate(given[None], (96, 96), mode="bilinear")[0]
    tall = torch.cat([torch.zeros(3, 20, 96), large, torch.ones(3, 20, 96)], 1)
    result = uv.maximize(usae, uv.Concept(3), start=tall, steps=1, **QUICK)
    assert torch.allclose(result.given, given, atol=0.03)


@pytest.mark.parametrize("how", [lambda file: file.open("rb"), Image.open], ids=["open file", "PIL"])
def test_what_pil_opened_starts_as_its_file_does(usae, tmp_path, how):
    file = tmp_path / "wide.png"
    Image.effect_noise((60, 40), 80).save(file)
    ways = {"start": file}, {"start": how(file)}
    from_file, from_image = (uv.maximize(usae, uv.Concept(3), steps=2, **way, **QUICK) for way in ways)
    assert torch.equal(from_image.given, from_file.given)
    assert torch.equal(from_image.images["left"], from_file.images["left"])
    assert from_image.settings.start.startswith("picture of sha256 ")
    compared = uv.invert(usae, how(file), steps=1, **QUICK)
    assert torch.equal(compared.given, from_file.given)
    (each,) = uv.maximize_each(usae, [uv.Concept(3)], uv.MaximizeSettings(steps=1, **QUICK), start=how(file))
    assert torch.equal(each.given, from_file.given)


def test_accentuation_stays_closer_the_more_closeness_weighs(usae, given):
    distances = []
    for closeness in (0.0, 5.0, 500.0):
        result = uv.accentuate(usae, uv.Concept(3), given, closeness=closeness, steps=12, **QUICK)
        assert result.scores.concept == 3
        distances.append(sum((image - given).abs().mean().item() for image in result.images.values()))
    assert distances[0] > 1.3 * distances[1] > 1.3 * distances[2] > 0


def test_accentuation_raises_the_concept_in_the_given_picture(usae, given):
    def strength(name, canvas):
        return usae.pre_codes(name, usae.tokens(name, canvas[None]))[..., 3].mean().item()

    result = uv.accentuate(usae, uv.Concept(3), given, closeness=0.5, steps=24, **QUICK)
    for name, image in result.images.items():
        assert strength(name, image) > strength(name, given) + 0.1


def agreement(usae, name, one, other):
    """Cosine of two pictures' codes through a backbone, patch for patch."""
    codes = [usae.encode(name, usae.tokens(name, canvas[None])).dense(usae.n_concepts) for canvas in (one, other)]
    return torch.cosine_similarity(*(each.flatten() for each in codes), dim=0).item()


def test_inversion_has_the_given_pictures_codes_at_their_places(usae, given):
    """The mirrored picture's inversion has the same codes elsewhere: what agreement comes to by chance."""
    noise = uv.invert(usae, given, steps=1, learning_rate=1e-6, **QUICK)
    mirrored = uv.invert(usae, given.flip(-1), steps=50, **QUICK)
    drawn = uv.invert(usae, given, steps=50, **QUICK)
    assert drawn.scores is None
    assert torch.equal(drawn.given, given)
    for name in usae.names:
        at_start, by_chance, reached = (
            agreement(usae, name, given, result.images[name]) for result in (noise, mirrored, drawn)
        )
        assert max(at_start, by_chance) < 0.4
        assert reached > 0.6
    assert (noise.images["left"] - given).abs().mean() > 0.1  # it does not start there


def test_inversion_of_one_backbones_codes_draws_its_picture_only(usae, given):
    assert list(uv.invert(usae, given, match=["right"], steps=2, **QUICK).images) == ["right"]
    with pytest.warns(FormerNameWarning, match=r"^backbones is called match now; write match$"):
        assert list(uv.invert(usae, given, backbones="right", steps=2, **QUICK).images) == ["right"]
    with pytest.raises(ValueError, match=r"^backbones is the former name of match; give match alone$"):
        uv.invert(usae, given, backbones="right", match="right")


def test_the_reference_need_not_be_the_start(usae, given):
    """At the first step the start is what the reference is compared with."""
    seen = []
    settings = {"steps": 1, "augmentation": "none", "dtype": "float32", **QUICK}

    def note(_, scores):
        seen.append(scores["left"])

    uv.maximize(usae, Closeness(), start=given, progress=note, **settings)
    uv.maximize(usae, Closeness(), start=given, reference=given.flip(-1), progress=note, **settings)
    assert seen[0] == pytest.approx(0, abs=1e-4)
    assert seen[1] < -0.01


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.rand(32, 32), r"a picture of shape \(32, 32\); expected \(3, H, W\), float 0..1"),
        (torch.rand(1, 3, 32, 32), r"a picture of shape \(1, 3, 32, 32\)"),
        (torch.rand(4, 32, 32), r"a picture of shape \(4, 32, 32\)"),
        (torch.rand(32, 32, 3), r"a picture of shape \(32, 32, 3\)"),
        (torch.rand(3, 0, 0), r"a picture of shape \(3, 0, 0\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"expected \(3, H, W\), float 0..1"),
        (torch.rand(3, 32, 32) * 255, "a picture from .* to 25.; expected float 0..1"),
        (torch.rand(3, 32, 32) - 0.5, "expected float 0..1"),
        (torch.full((3, 32, 32), torch.nan), "a picture from nan to nan; expected float 0..1"),
        ("nowhere.png", "no picture 'nowhere.png': there is no such file"),
        (7, "a picture of type int; expected a picture's file, a PIL image, a NumPy array, or a tensor"),
    ],
)
@pytest.mark.parametrize("role", ["start", "reference"])
def test_what_is_no_picture_is_said_in_one_line(usae, wrong, message, role):
    with pytest.raises(ValueError, match=message) as caught:
        uv.maximize(usae, uv.Concept(3), steps=1, **{role: wrong}, **QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", [Closeness(), uv.Concept(3) - uv.SameCodes()])
def test_a_comparison_without_a_picture_is_refused(usae, objective):
    with pytest.raises(ValueError, match="compares with a picture; give one as `start` or `reference`"):
        uv.maximize(usae, objective, steps=1, **QUICK)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("given", ["start", "reference"])
def test_a_start_that_has_no_end_is_one_line(usae, tmp_path, kind, given):
    file = {"pipe": tmp_path / "pipe.png", "device": "/dev/zero", "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(ValueError, match=rf"{file} cannot be read: it is a {kind}; expected a file"):
        uv.maximize(usae, uv.Concept(3) + SameCodes(), steps=1, **{given: file}, **QUICK)


def test_a_start_whose_name_is_no_utf8_is_kept_with_the_picture(usae, tmp_path):
    file = os.fsencode(tmp_path) + b"/\xfc.png"
    to_picture(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))).save(tmp_path / "a.png")
    try:
        os.rename(tmp_path / "a.png", file)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    result = uv.maximize(usae, uv.Concept(3), start=os.fsdecode(file), steps=1, **QUICK)
    assert result.settings.start == rf"{tmp_path}/\xfc.png"
    again = uv.maximize(usae, uv.Concept(3), start=result.settings.start, steps=1, **QUICK)
    assert all(torch.equal(picture, again.images[name]) for name, picture in result.images.items())
    assert set(given_hashes(result.settings)) == {"start"}


@pytest.mark.parametrize("name", ["start", "reference"])
def test_several_drawings_keep_the_name_of_the_picture_that_they_were_given(usae, given, tmp_path, name):
    """They kept none: the command that `show` printed drew another picture, from noise."""
    file = tmp_path / "given.png"
    to_picture(given).save(file)
    settings = uv.MaximizeSettings(steps=1, **QUICK)
    (drawn,) = uv.maximize_each(usae, [uv.Concept(3)], settings, **{name: file})
    one = uv.maximize(usae, uv.Concept(3), steps=1, **{name: file}, **QUICK)
    assert drawn.settings == one.settings
    assert getattr(drawn.settings, name) == str(file)
    assert torch.equal(drawn.images["left"], one.images["left"])
    (in_no_file,) = uv.maximize_each(usae, [uv.Concept(3)], settings, **{name: given})
    assert getattr(in_no_file.settings, name).startswith("tensor of sha256 ")
    with pytest.raises(ValueError, match="a picture that is started from keeps its own contrast"):
        list(uv.maximize_each(usae, [uv.Concept(3)], uv.MaximizeSettings(contrast=2), start=file))
