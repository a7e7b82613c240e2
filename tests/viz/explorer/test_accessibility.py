"""axe finds nothing to complain of in any page, in light and in dark, wide and on a phone."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.browser
WIDTHS = {"light": 1280, "dark": 360}


def begin(page):
    page.click("#begin")


def answer_all(page):
    begin(page)
    while page.is_visible("#question"):
        page.keyboard.press("1")


def open_filters(page):
    if page.is_visible("#filters"):
        page.click("#filters")


def point_at_a_concept(page):
    page.focus("#atlas-canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#glimpse", state="visible")


def point_at_a_patch(page):
    page.focus(".patch")
    page.wait_for_selector("#glimpse", state="visible")


def nothing(page):
    page.wait_for_selector("main")


SHOWN = {  # the page, its address, what is done then
    "cards": ("explorer", "", nothing),
    "a patch": ("explorer", "", point_at_a_patch),
    "filters": ("explorer", "", open_filters),
    "a concept": ("explorer", "concept=3", nothing),
    "a comparison": ("explorer", "compare=3,5", nothing),
    "the atlas": ("explorer", "scene=atlas", point_at_a_concept),
    "the atlas, filtered": ("explorer", "scene=atlas&pictures=drawn&viewport=0.5,0.5,2", nothing),
    "an explanation": ("explanation", "", nothing),
    "a study": ("study", "", nothing),
    "a question": ("study", "", begin),
    "a study's end": ("study", "", answer_all),
    "a report": ("report", "", nothing),
}


@pytest.fixture(scope="module")
def pages(usae_folder, run_folder, tmp_path_factory):
    """The folders of the explorer, of an explanation, of a study for raters, and of an evaluation's report."""
    place = tmp_path_factory.mktemp("pages")
    photograph = sorted((Path(usae_folder).parent / "pictures").iterdir())[0]
    commands = {
        "explorer": (usae_viz.cli.app, ["explore", usae_folder, run_folder, "--out", place / "explorer"]),
        "explanation": (
            usae_viz.cli.app,
            ["explain", photograph, "--usae", usae_folder, "--run", run_folder, "--out", place / "explanation"],
        ),
        "study": (usae_viz.cli.app, ["rate", run_folder, "--out", place / "rated", "--seed", 4]),
        "report": (usae_train.cli.app, ["evaluate", usae_folder, "demo:test", "--limit", 8, "--out", place / "report"]),
    }
    for app, words in commands.values():
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    return {name: place / "rated" / "study" if name == "study" else place / name for name in commands}


def complaints(page):
    """What axe finds, a line for each element: the rule, where, and what to do."""
    found = axe_playwright.Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']}: {' '.join(node['failureSummary'].split())[:330]}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", WIDTHS)
@pytest.mark.parametrize("shown", SHOWN)
def test_axe_finds_nothing(shown, scheme, pages, chromium):
    page_name, hash_, do = SHOWN[shown]
    context = chromium.new_context(viewport={"width": WIDTHS[scheme], "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto((pages[page_name] / "index.html").resolve().as_uri() + (f"#{hash_}" if hash_ else ""))
    if page_name != "report":
        page.wait_for_selector("body[data-ready]")
    do(page)
    found = complaints(page)
    assert found == [], "\n".join(found)
    context.close()


def test_axe_would_find_something(chromium):
    page = chromium.new_page()
    page.set_content("<html><body><button></button></body></html>")
    assert [each for each in complaints(page) if each.startswith("button-name")]
    page.close()
