"""The folder that `usae-viz explain` writes, and the command."""

import json
import re
from pathlib import Path

import pytest
import torch
from edited_networks import SPECS, space, vit
from PIL import Image
from typer.testing import CliRunner

import usae_train as ut
import usae_viz as uv
import usae_viz.cli
from usae_viz.export.png import read_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny USAE, two photographs and three pictures to take patches from."""
    place = tmp_path_factory.mktemp("explain")
    ut.save(space({"vit": SPECS["vit"], "mute": vit(7).model_copy(update={"classes": 0})}), place / "usae")
    (place / "natural").mkdir()
    generator = torch.Generator().manual_seed(0)
    for name, shape in {
        "tall.png": (90, 60),
        "wide.png": (60, 90),
        **{f"natural/{n}.png": (40, 40) for n in range(3)},
    }.items():
        pixels = torch.randint(256, (*shape, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place / name)
    return place


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(usae_viz.cli.app, ["explain", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    given = [str(folder / "tall.png"), str(folder / "wide.png"), "--usae", str(folder / "usae")]
    code, stdout, stderr = run(*given, "--images", str(folder / "natural"), "--out", str(folder / "out"), "--top", "4")
    assert code == 0, stderr
    assert stdout.endswith("index.html\n")
    assert "vit: class" in stdout
    return folder / "out"


def test_a_sheet_for_each_photograph_and_explain_json(out):
    assert sorted(each.name for each in out.iterdir()) == [
        "explain",
        "explain.json",
        "index.html",
        "sheet-1.png",
        "sheet-2.png",
    ]
    assert read_png(out / "sheet-1.png")["sheet"] == ["vit", "mute"]
    record = json.loads((out / "explain.json").read_text())
    tall, _ = record["photographs"]
    assert (tall["name"], tall["width"], tall["height"]) == ("tall.png", 60, 90)
    assert tall["seen"] == {"left": 0, "top": 15, "side": 60}
    vit, mute = tall["backbones"]["vit"], tall["backbones"]["mute"]
    assert vit["asked"]["class"] == vit["answer"]["class"]
    assert "mute has no classifier" in mute["no_importance"]
    firing = [row for row in vit["concepts"] if row["area"]]
    assert all(len(row["map"]) == 4 and "estimate" in row for row in firing)
    assert all(max(map(max, row["map"])) == pytest.approx(row["peak"], abs=1e-3) for row in firing)
    assert set(tall["agreed"][:4]) <= {row["concept"] for row in firing}


def test_the_page_holds_all_that_it_shows(out):
    page = (out / "index.html").read_text()
    for part in re.findall(r'(?:src|href)="(explain/[^"]+)"', page):
        assert (out / part).is_file()
    assert "http" not in page.replace("http-equiv", "")
    data = json.loads((out / "explain" / "data.js").read_text().removeprefix("usaeExplanation(").removesuffix(");\n"))
    assert data["backbones"] == ["vit", "mute"]
    assert all((out / "explain" / "patches" / f"{concept}.webp").is_file() for concept in data["patches"])
    assert data["patches"]
    assert Image.open(out / "explain" / "photograph-0.webp").size == (60, 90)


def test_without_names_there_is_no_column_of_them_and_a_line_says_what_helps(folder):
    labels = {"schema": 1, "usae": "tiny", "usae_sha256": None, "labels": [{"concept": 3, "name": "eyes"}]}
    (folder / "labels.json").write_text(json.dumps(labels))
    hint = "no names here; --images FOLDER shows top-activating patches"
    for number, (words, named, hinted) in enumerate(
        [
            ([], False, True),
            (["--images", str(folder / "natural")], False, False),
            (["--labels", str(folder / "labels.json")], True, False),
        ]
    ):
        given = [str(folder / "wide.png"), "--usae", str(folder / "usae"), "-o", str(folder / f"named-{number}")]
        _, stdout, _ = run(*given, *words)
        heading = next(line for line in stdout.splitlines() if "concept" in line)
        assert ("name" in heading) == named
        assert (hint in stdout.splitlines()) == hinted


def test_json_is_the_file(folder):
    code, stdout, _ = run(
        str(folder / "wide.png"), "--usae", str(folder / "usae"), "--json", "-o", str(folder / "json")
    )
    assert code == 0
    assert json.loads(stdout) == json.loads((folder / "json" / "explain.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--class", "7"], "no class 7; vit's classifier has 5"),
        (["--run", "nowhere"], "nowhere is not a run folder: it has no run.json"),
        (["--usae", "nowhere"], "unknown USAE 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(folder, arguments, said):
    place = folder / "refused"
    given = [str(folder / "wide.png"), "--usae", str(folder / "usae"), "--out", str(place)]
    code, _, stderr = run(*given, *arguments)
    assert code == 1
    assert said in stderr
    assert stderr.count("\n") == 1
    assert not place.exists()


def test_a_runs_drawings_stand_beside_their_concepts(folder):
    usae = ut.load(folder / "usae")
    concept = uv.explain(usae, folder / "wide.png").concepts("vit")[0].concept
    uv.maximize(usae, uv.Concept(concept), steps=1, views=1, size=32).save(folder / "run")
    given = [str(folder / "wide.png"), "--run", str(folder / "run"), "--out"]
    code, _, stderr = run(*given, str(folder / "drawn"), "--usae", str(folder / "usae"))
    assert code == 0, stderr
    data = (folder / "drawn" / "explain" / "data.js").read_text().removeprefix("usaeExplanation(").removesuffix(");\n")
    drawn = json.loads(data)["drawings"]
    assert [each["backbone"] for each in drawn[str(concept)]] == ["vit", "mute"]
    assert all((folder / "drawn" / "explain" / "drawings" / each["file"]).is_file() for each in drawn[str(concept)])
    code, _, stderr = run(*given, str(folder / "refused"), "--usae", "demo")
    assert code == 1
    assert "was drawn with another USAE than demo; leave out --run" in stderr


def test_a_folder_that_holds_something_is_left_alone(folder, out):
    before = (out / "explain.json").read_bytes()
    code, _, stderr = run(str(folder / "wide.png"), "--usae", str(folder / "usae"), "--out", str(out))
    assert code == 1
    assert "exists already" in stderr
    assert (out / "explain.json").read_bytes() == before


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_follows_the_pointer(out, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 844})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"file://{out / 'index.html'}")
    row = page.locator("#concepts button").nth(1)
    row.hover()
    assert page.locator("#concept-title").inner_text().startswith(f"Concept {row.get_attribute('data-concept')}")
    assert page.locator("#maps canvas").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.select_option("#photographs", "1")
    assert page.locator("#title").inner_text() == "wide.png"
    assert page.locator("#maps img").first.get_attribute("src") == "explain/photograph-1.webp"
    page.close()
    assert wrong == []


@pytest.mark.browser
def test_the_keyboard_goes_along_the_list_and_the_address_restores_it(out, chromium):
    page = chromium.new_page()
    address = f"file://{out / 'index.html'}"
    page.goto(address)
    page.focus(".skip")
    page.keyboard.press("Enter")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    row = page.locator("#concepts button").nth(1)
    assert page.evaluate("document.activeElement.dataset.concept") == row.get_attribute("data-concept")
    page.select_option("#photographs", "1")
    page.select_option("#order", "2")
    page.locator("#concepts button").nth(1).focus()
    shown = "[title.textContent, order.value, document.querySelector('#concept-title').textContent]"
    before = page.evaluate(shown)
    page.wait_for_url("**#photograph=1&order=2&concept=*")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate(shown) == before
    page.goto(address + "#photograph=9&order=-1&concept=x")
    page.wait_for_function("order.value === '0'")
    page.close()
