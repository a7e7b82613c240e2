"""axe finds nothing to complain of in the three pages, in light and in dark, wide and on a phone."""

import pytest
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.browser
WIDTHS = {"light": 1280, "dark": 360}
SHOWN = {
    "cards": ("explorer", ""), "a concept": ("explorer", "concept=3"), "a comparison": ("explorer", "compare=3,5"),
    "a question": ("study", ""), "a report": ("report", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def pages(usae_folder, run_folder, tmp_path_factory):
    """The folders of the explorer, of a study for raters, and of an evaluation's report."""
    place = tmp_path_factory.mktemp("pages")
    commands = {
        "explorer": (usae_viz.cli.app, ["explore", usae_folder, run_folder, "--out", place / "explorer"]),
        "study": (usae_viz.cli.app, ["rate", run_folder, "--out", place / "rated", "--seed", 4]),
        "report": (usae_train.cli.app, ["evaluate", usae_folder, "demo:test", "--limit", 8, "--out", place / "report"]),
    }
    for app, words in commands.values():
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    return {"explorer": place / "explorer", "study": place / "rated" / "study", "report": place / "report"}


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
    page_name, hash_ = SHOWN[shown]
    context = chromium.new_context(viewport={"width": WIDTHS[scheme], "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto((pages[page_name] / "index.html").resolve().as_uri() + (f"#{hash_}" if hash_ else ""))
    if page_name != "report":
        page.wait_for_selector("body[data-ready]")
    found = complaints(page)
    assert found == [], "\n".join(found)
    context.close()


def test_axe_would_find_something(chromium):
    page = chromium.new_page()
    page.set_content("<html><body><button></button></body></html>")
    assert [each for each in complaints(page) if each.startswith("button-name")]
    page.close()
