"""What an explanation says, on tiny networks whose answers can be asked about one concept at a time."""

from pathlib import Path

import pytest
import torch
from edited_networks import SILENT, SPECS, space, vit
from PIL import Image

import usae_train as ut
import usae_viz as uv
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.concepts.labels import Label
from usae_viz.explanations.choice import strongest_in_turn
from usae_viz.explanations.concept_maps import ConceptMaps
from usae_viz.explanations.overlay import fitted_size, light_of, spotlight
from usae_viz.explanations.photograph import Photograph, open_photograph

MUTE = vit(7).model_copy(update={"classes": 0})


@pytest.fixture(scope="module")
def usae() -> USAE:
    """A transformer and a convolutional network with classifiers, and a transformer without."""
    return space({"vit": SPECS["vit"], "conv": SPECS["conv"], "mute": MUTE})


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 x 60 px of noise."""
    pixels = torch.randint(256, (60, 90, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    file = tmp_path_factory.mktemp("photo") / "noise.png"
    Image.fromarray(pixels.numpy()).save(file)
    return file


@pytest.fixture(scope="module")
def explained(usae: USAE, photo: Path) -> uv.Explanation:
    return uv.explain(usae, photo, labels=[Label(concept=3, name="seeds")])


def test_peak_area_and_place_by_hand():
    codes = Codes(
        torch.tensor([[2.0], [0.05], [0.5], [0.0], [3.0], [0.0]]), torch.tensor([[1], [1], [1], [0], [1], [2]])
    )
    maps = ConceptMaps.from_codes(codes, (2, 3), 3)
    seen = maps.activity(1, "seeds")
    assert (seen.peak, seen.area, seen.place) == (3.0, 0.5, (1, 1))  # 0.05 is below 0.1
    assert maps.firing == [1]
    assert str(seen) == "concept 1 seeds: peak 3.00, area 50%"


def test_maps_are_codes_at_the_backbones_own_grid(usae, explained, photo):
    assert {name: explained.maps[name].grid for name in usae.names} == {"vit": (4, 4), "conv": (4, 4), "mute": (4, 4)}
    canvas = open_photograph(photo).canvas(64)
    with torch.no_grad():
        dense = usae.encode("conv", usae.backbones["conv"](canvas)).dense(16)[0]
    first = explained.concepts("conv")[0].concept
    assert torch.allclose(explained.map("conv", first).flatten(), dense[:, first], atol=1e-5)
    assert torch.equal(explained.map("conv", "seeds"), explained.map("conv", 3))
    assert torch.allclose(uv.concept_map(usae, photo, "conv", first), explained.map("conv", first), atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "conv"])
def test_importance_is_what_the_logit_loses(usae, explained, name):
    class_, _ = explained.asked_class(name)
    important = explained.importance(name, exact=3)
    assert [each.exact is None for each in important] == [False] * 3 + [True] * (len(important) - 3)
    backbone = usae.backbones[name]
    with torch.no_grad():
        plain = backbone.logits(explained.canvas)[0, class_]
        assert explained.answer(name).class_ == class_ == int(backbone.logits(explained.canvas).argmax())
        for each in important[:3]:
            with ut.intervene(usae, name, {each.concept: 0.0}):
                lost = plain - backbone.logits(explained.canvas)[0, class_]
            assert each.exact == pytest.approx(lost.item(), abs=1e-5)
    other = (class_ + 1) % 5
    assert [each.exact for each in explained.importance(name, other)] != [
        each.exact for each in explained.importance(name)
    ]
    assert [each.concept for each in explained.concepts(name, "importance")] == [
        each.concept for each in explained.importance(name)
    ]


def test_the_class_is_asked_for_by_its_former_name_with_a_warning(explained):
    with pytest.warns(FormerNameWarning, match="write asked_class"):
        assert explained.asked("vit") == explained.asked_class("vit")


@torch.no_grad()
def test_carriers_cost_more_one_after_the_other_than_those_that_cost_most_alone(usae, explained):
    carriers, backbone = explained.carriers("vit", 4), usae.backbones["vit"]
    assert len({each.concept for each in carriers}) == 4
    class_ = explained.asked_class("vit")[0]
    plain = backbone.logits(explained.canvas)[0, class_]
    for at, each in enumerate(carriers, 1):
        with ut.intervene(usae, "vit", {own.concept: 0.0 for own in carriers[:at]}):
            logits = backbone.logits(explained.canvas)[0]
        assert each.lost == pytest.approx((plain - logits[class_]).item(), abs=1e-4)
        assert each.probability == pytest.approx(logits.softmax(-1)[class_].item(), abs=1e-5)
    alone = [own.concept for own in sorted(explained.importance("vit"), key=lambda own: -own.best)[:4]]
    with ut.intervene(usae, "vit", dict.fromkeys(alone, 0.0)):
        assert carriers[-1].lost >= (plain - backbone.logits(explained.canvas)[0, class_]).item() - 1e-5


def test_agreed_and_only_by_hand(explained):
    def maps(*peaks: float) -> ConceptMaps:
        return ConceptMaps(torch.tensor(peaks).view(4, 1, 1))

    made = uv.Explanation(
        explained.usae,
        explained.photograph,
        explained.canvas,
        {"vit": maps(3, 2, 1, 0), "conv": maps(1, 2, 3, 0), "mute": maps(5, 4, 0, 6)},
        {},
        {},
    )
    assert made.agreed() == [0, 1]  # places 0, 2, 1 and 1, 1, 2: the worst is the same, the sum is not
    assert {name: made.only(name) for name in made.maps} == {"vit": [], "conv": [], "mute": [3]}
    assert [each.concept for each in made.concepts("conv", top=2)] == [2, 1]
    with pytest.warns(FormerNameWarning, match="^limit is called top now; write top$"):
        assert made.concepts("conv", limit=2) == made.concepts("conv", top=2)
    assert strongest_in_turn(made, 9) == [0, 2, 3, 1]  # the first of each, then the second of each
    made.maps["vit"] = made.maps["mute"] = maps(5, 0, 0, 0)
    assert strongest_in_turn(made, 9) == [0, 2, 1]  # and on, where one has no more
    assert strongest_in_turn(made, 2) == [0, 2]


def test_a_photograph_keeps_its_aspect_and_says_what_was_seen(explained):
    photograph = explained.photograph
    assert photograph.whole.size == (90, 60)
    assert photograph.square == (15, 0, 60)
    assert fitted_size(photograph, 180) == (180, 120)
    codes = torch.zeros(2, 2)
    codes[0, 1] = 4.0
    shown = spotlight(Photograph("white", Image.new("RGB", (90, 60), "white")), codes, (90, 60))
    assert shown.getpixel((60, 10)) == (255, 255, 255)  # the upper right patch of the square
    dark = shown.getpixel((30, 10))
    beside = shown.getpixel((5, 10))
    assert max(dark) < max(beside) < 255
    assert light_of(codes / 4).tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_the_sheet_is_its_picture_in_a_notebook(explained):
    assert explained._repr_png_().startswith(b"\x89PNG")
    wide, narrow = explained.sheet(columns=4), explained.sheet(columns=2)
    assert wide.width > narrow.width
    assert wide.height == narrow.height


def test_a_photograph_that_is_all_but_a_line_is_shown():
    line = Photograph("line", Image.new("RGB", (3000, 3), "white"))
    assert spotlight(line, torch.ones(2, 2), fitted_size(line, 200)).size == (200, 1)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda e: e.importance("mute"), "mute has no classifier; set `classes` in its spec"),
        (lambda e: e.concepts("mute", "importance"), "mute has no classifier"),
        (lambda e: e.carriers("mute"), "mute has no classifier"),
        (lambda e: e.importance("vit", 5), "no class 5; vit's classifier has 5, numbered 0 to 4"),
        (lambda e: e.importance("vit", -1), "no class -1; classes are numbered from 0"),
        (lambda e: e.importance("vit", "tabby"), "the classes of vit have no names that are known; give a number"),
        (lambda e: e.map("vit", 16), "no concept 16; this USAE has 16"),
        (lambda e: e.map("vit", "sedes"), r"no concept is labelled 'sedes'; the nearest labels: seeds"),
        (lambda e: e.map("vitt", 1), r"unknown backbone 'vitt'.*did you mean 'vit'"),
        (lambda e: e.concepts("vit", "size"), "concepts by 'size'; expected one of peak, area, importance"),
    ],
)
def test_what_cannot_be_asked_is_one_line(explained, ask, said):
    with pytest.raises(ValueError, match=said):
        ask(explained)


def test_a_photograph_or_usae_that_cannot_be_explained_is_one_line(usae, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for photo, said in (
        (broken, r"broken.jpg cannot be read: it is not a picture"),
        (tmp_path / "gone.png", "there is no such file"),
        (tmp_path, "cannot be read: it is a folder; expected a file"),
        (torch.ones(2, 3, 8, 8), r"shape \(2, 3, 8, 8\)"),
        (torch.full((3, 8, 8), torch.nan), r"expected float 0\.\.1"),
    ):
        with pytest.raises(ValueError, match=said):
            uv.explain(usae, photo)
    with pytest.raises(ValueError, match="fitted on bare activations"):
        uv.explain(USAE({"a": 3}, 4, 2), torch.ones(3, 8, 8))
    with pytest.raises(ValueError, match="no class 5; vit's classifier has 5"):
        uv.explain(usae, torch.ones(3, 8, 8), class_=5)


def test_a_concept_that_fires_nowhere_has_no_place_in_the_lists(explained):
    for name in explained.maps:
        assert SILENT not in [each.concept for each in explained.concepts(name)]
        assert explained.map(name, SILENT).abs().max() == 0


def test_imagenets_names_are_classes_and_near_ones_are_told():
    from usae_viz.objectives.class_names import parse_class

    model = USAE({"a": 3}, 4, 2, specs={"a": vit().model_copy(update={"classes": 1000})})
    assert parse_class(model, "a", "Tabby") == parse_class(model, "a", "281") == parse_class(model, "a", 281) == 281
    with pytest.raises(ValueError, match=r"no class 'tabbi' of a; the nearest: tabby"):
        parse_class(model, "a", "tabbi")
    with pytest.raises(ValueError, match=r"no class 'tabby': a has no classifier"):
        parse_class(USAE({"a": 3}, 4, 2, specs={"a": MUTE}), "a", "tabby")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda seen: seen.carriers("vit", 0), "count 0: expected a whole number >= 1"),
        (lambda seen: seen.carriers("vit", -1), "count -1: expected a whole number >= 1"),
        (lambda seen: seen.carriers("vit", 1.5), r"count 1\.5: expected a whole number >= 1"),
        (lambda seen: seen.importance("vit", exact=-1), "exact -1: expected a whole number >= 0"),
        (lambda seen: seen.importance("vit", exact=True), "exact True: expected a whole number >= 0"),
        (lambda seen: seen.concepts("vit", top=-2), "top -2: expected a whole number >= 0"),
        (lambda seen: seen.sheet(0), "columns 0: expected a whole number >= 1"),
        (lambda seen: seen.asked_class("mute"), "mute has no classifier"),
        (lambda seen: seen.asked_class("conf"), "unknown backbone 'conf'.*did you mean 'conv'"),
        (lambda seen: seen.asked_class(["conv"]), r"unknown backbone \['conv'\]"),
        (lambda seen: seen.drops("conf", [1]), "unknown backbone 'conf'"),
        (lambda seen: seen.drops("vit", [10**6]), "no concept 1000000"),
        (lambda seen: seen.map("vit", 1.0), r"concept 1\.0: expected a whole number or a name"),
        (lambda seen: seen.only(None), "unknown backbone None"),
    ],
)
def test_an_argument_that_cannot_be_is_one_line(explained, ask, said):
    with pytest.raises(ValueError, match=said) as caught:
        ask(explained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"labels": [3]}, "labels are of type list; expected the file that the explorer exports"),
        ({"labels": {3: "seeds"}}, "labels are of type dict"),
        ({"labels": "nowhere.json"}, "nowhere.json cannot be read"),
        ({"class_": 10**6}, "no class 1000000"),
        ({"photo": 3}, "a photograph of type int"),
    ],
)
def test_what_cannot_be_explained_is_said_before_a_network_is_built(photo, monkeypatch, wrong, said):
    own = space({"vit": SPECS["vit"]})
    monkeypatch.setattr(USAE, "backbones", property(lambda usae: pytest.fail("a network was built")))
    with pytest.raises(ValueError, match=said):
        uv.explain(own, **{"photo": photo, **wrong})
