"""`usae-viz intervene`: what was typed, what it answers, what it writes."""

import json
from pathlib import Path

import pytest
import torch
from edited_networks import SPECS, space, vit
from PIL import Image
from typer.testing import CliRunner

import usae_train as ut
import usae_viz.cli
from usae_train.images.sources import open_images
from usae_train.model.usae import USAE
from usae_viz.concepts.edit_text import parse_edit_texts
from usae_viz.concepts.labels import Label
from usae_viz.explanations.intervention import gallery_of, intervention_in
from usae_viz.explanations.intervention_sheet import edit_in_words
from usae_viz.explanations.sheet import ink_of
from usae_viz.export.sheet import FAINT

LABELS = [Label(concept=7, name="seeds"), Label(concept=3, name="1+1 eyes")]


@pytest.fixture(scope="module")
def usae() -> USAE:
    mute = vit(7).model_copy(update={"classes": 0})
    return space({"vit": SPECS["vit"], "mute": mute, "deaf": vit(3, layer=-1, norm=True)})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    generator = torch.Generator().manual_seed(0)
    for number in range(4):
        pixels = torch.randint(256, (50, 40, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("12=0", {12: 0.0}),
        (" 12 = 1e-3 ", {12: 0.001}),
        ("12=+1e+3", {12: 1000.0}),
        ("12=.5", {12: 0.5}),
        ("12=1_0", None),
        ("12=\u0663", None),  # an Arabic three
        ("12=-Inf", None),
        ("seeds*2", {7: ("scale", 2.0)}),
        ("Seeds + 1.5", {7: ("add", 1.5)}),
        ("4,5=-1", {4: -1.0, 5: -1.0}),
        ("1+1 eyes=2", {3: 2.0}),
        ("7=nan", None),
        ("7", None),
        ("=3", None),
        ("7=", None),
        ("7=two", None),
    ],
)
def test_edits_are_typed_as_they_are_read(usae, text, edit):
    if edit is not None:
        assert parse_edit_texts(usae, [text], LABELS) == edit
        return
    with (
        pytest.raises(ValueError, match="expected a"),
        ut.intervene(usae, "vit", parse_edit_texts(usae, [text], LABELS)),
    ):
        pass


def test_edits_of_what_there_is_not_or_twice_are_refused(usae):
    for texts, said in (
        (["16=0"], "no concept 16"),
        (["sedes=0"], "no concept is labelled 'sedes'; the nearest labels: seeds"),
        (["7=0", "seeds*2"], "the edit 'seeds\\*2': concept 7 is edited twice"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_edit_texts(usae, texts, LABELS)


@torch.no_grad()
def test_answers_and_neighbours_before_and_after(usae, photographs):
    source = open_images(photographs)
    found = intervention_in(usae, "vit", photographs / "2.png", {1: 4.0}, 3, gallery_of(usae, "vit", source))
    backbone, canvas = usae.backbones["vit"], source.read(2, 32)[None]
    before = backbone.logits(canvas)[0].softmax(-1)
    with ut.intervene(usae, "vit", {1: 4.0}):
        after = backbone.logits(canvas)[0].softmax(-1)
    for each in found.classes:
        assert each.probability == pytest.approx((before[each.class_].item(), after[each.class_].item()), abs=1e-5)
    assert {int(before.argmax()), int(after.argmax())} <= {each.class_ for each in found.classes}
    assert found.cosine < 0.9999
    was, now = found.neighbours
    assert (was[0].label, was[0].cosine) == ("2.png", pytest.approx(1, abs=1e-5))
    assert len(was) == len(now) == 3
    assert now[0].cosine < 0.9999


def test_nothing_edited_changes_nothing(usae, photographs):
    found = intervention_in(usae, "vit", photographs / "0.png", {})
    assert all(each.probability[0] == each.probability[1] for each in found.classes)
    mute = intervention_in(usae, "mute", photographs / "0.png", {1: 3.0})
    assert mute.classes == []
    assert mute.neighbours is None
    assert mute.cosine < 1


def test_an_edit_that_cannot_reach_the_answer_is_refused(usae, photographs):
    with pytest.raises(ValueError, match="deaf: no patch token of layer -1 reaches the classifier"):
        intervention_in(usae, "deaf", photographs / "0.png", {1: 3.0})


def test_answers_that_are_not_finite_are_one_line(usae, photographs, monkeypatch):
    really = usae.backbones["vit"].logits
    seen = []
    monkeypatch.setattr(
        type(usae.backbones["vit"]), "logits", lambda self, canvas: seen.append(1) or really(canvas) / (2 - len(seen))
    )
    with pytest.raises(ValueError, match="vit answers with numbers that are not finite once concepts 1 are edited"):
        intervention_in(usae, "vit", photographs / "0.png", {1: 3.0})


def test_an_edit_of_what_is_not_there_says_that_it_changes_nothing(usae, photographs, tmp_path):
    """Before 86.6% stood in green or red beside 86.6%."""
    maps = intervention_in(usae, "vit", photographs / "1.png", {}).maps
    absent = int(maps.peaks.argmin())
    assert maps.peaks[absent] == 0
    for edits, idle in (
        ({absent: 0.0}, [absent]),
        ({absent: ("scale", 3.0), maps.firing[0]: 0.0}, [absent]),
        ({absent: ("add", 0.0)}, [absent]),
        ({absent: ("add", 1.0)}, []),
        ({absent: 2.0}, []),
    ):
        assert intervention_in(usae, "vit", photographs / "1.png", edits).idle == idle
    assert ink_of(0.0) == FAINT != ink_of(0.1) != ink_of(-0.1)
    folder = ut.save(usae, tmp_path / "usae")
    labels = {"schema": 1, "usae": "tiny", "usae_sha256": None, "labels": [{"concept": absent, "name": "eyes"}]}
    (tmp_path / "names.json").write_text(json.dumps(labels))
    words = ["intervene", str(photographs / "1.png"), "--in", "vit", "--usae", str(folder), "--set", f"{absent}=0"]
    words += ["--set", f"{maps.firing[0]}=0", "--out", str(tmp_path / "out"), "--labels", str(tmp_path / "names.json")]
    done = CliRunner().invoke(usae_viz.cli.app, words)
    assert done.exit_code == 0, done.stderr
    (said,) = [line for line in done.stdout.splitlines() if "changes nothing" in line]
    assert said.startswith(f"{absent} (eyes) fires in no patch of this photograph: `{absent} = 0` changes nothing; ")
    assert said.endswith(f"usae-viz explain {photographs / '1.png'} says which do")


def test_edits_read_as_they_were_typed():
    assert [edit_in_words((7, each)) for each in (0.0, ("scale", 2.0), ("add", 1.5))] == ["7 = 0", "7 * 2", "7 + 1.5"]


def test_the_command(usae, photographs, tmp_path):
    folder = str(ut.save(usae, tmp_path / "usae"))
    given = ["intervene", str(photographs / "1.png"), "--in", "vit", "--usae", folder, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(usae_viz.cli.app, [*given, "--set", "1=4", "--set", "2*0", "--among", str(photographs)])
    assert done.exit_code == 0, done.stderr
    assert "nearest after: " in done.stdout
    record = json.loads((tmp_path / "out" / "intervene.json").read_text())
    assert record["edits"] == {"1": 4.0, "2": ["scale", 0.0]}
    assert Image.open(tmp_path / "out" / "sheet.png").width > 400
    for words, said in (
        (["--set", "99=0"], "no concept 99"),
        (["--set", "1=inf"], "the edit of concept 1 has inf; expected a number from -1e+06 to 1e+06"),
        (["--set", "1=1e300"], "has 1e+300; expected a number from -1e+06 to 1e+06"),
        (["--set", "1=0", "--among", str(tmp_path / "gone")], "no folder"),
    ):
        place = tmp_path / "refused"
        wrong = CliRunner().invoke(usae_viz.cli.app, [*given[:-1], str(place), *words])
        assert wrong.exit_code == 1
        assert said in wrong.stderr
        assert wrong.stderr.count("\n") == 1
        assert not place.exists()


def test_a_yaml_of_photographs_and_named_edits(usae, photographs, tmp_path):
    ut.save(usae, photographs / "usae")
    recipe = photographs / "edits.yaml"
    edits = "{off: {in: vit, set: [1=0]}, more: {in: mute, set: [2*3]}}"
    written = f"usae: usae\nphotographs: [0.png, 1.png]\nedits: {edits}\n"
    recipe.write_text(written)
    done = CliRunner().invoke(usae_viz.cli.app, ["intervene", str(recipe), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.stderr
    assert [(each["backbone"], each["photograph"]) for each in json.loads(done.stdout)] == [
        ("vit", "0.png"),
        ("vit", "1.png"),
        ("mute", "0.png"),
        ("mute", "1.png"),
    ]
    assert (tmp_path / "out" / "off" / "1" / "sheet.png").is_file()
    for change, said in (
        (("usae: usae", "usea: usae"), "edits.yaml:1: unknown key 'usea'; did you mean 'usae'?"),
        (("[1=0]", "[99=0]"), "no concept 99"),
        (("1.png", "9.png"), "there is no such file"),
        (("in: mute", "in: mutt"), "unknown backbone 'mutt'"),
    ):
        recipe.write_text(written.replace(*change))
        wrong = CliRunner().invoke(usae_viz.cli.app, ["intervene", str(recipe), "--out", str(tmp_path / "refused")])
        assert wrong.exit_code == 1
        assert said in wrong.stderr
        assert not (tmp_path / "refused").exists()


def test_an_edit_without_its_half_is_wrong_usage():
    for words in (["0.png", "--in", "vit"], ["0.png", "--set", "1=0"], ["edits.yaml", "--set", "1=0"]):
        assert CliRunner().invoke(usae_viz.cli.app, ["intervene", *words]).exit_code == 2
