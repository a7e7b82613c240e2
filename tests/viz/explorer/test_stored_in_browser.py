"""What pages say where a browser stores nothing, stores again, or kept something that cannot be read."""

import pytest
from browser_waiting import becomes
from typer.testing import CliRunner

from usae_viz.cli import app
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser
STAYS = "Your answers stay on this device"
UNSTORED = "This browser does not store answers: export them before you close this page."
FULL = """() => {
    globalThis.whole = Storage.prototype.setItem;
    Storage.prototype.setItem = () => { throw new Error("full"); };
}"""
EMPTIED = "() => { Storage.prototype.setItem = globalThis.whole; }"


@pytest.fixture(scope="module")
def study(run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    done = CliRunner().invoke(app, ["rate", str(run_folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out / "study"


@pytest.fixture(scope="module")
def explorer(usae_folder, run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "out"
    explore(open_sources([usae_folder, str(run_folder)]), out)
    return out


def again(page):
    page.reload(wait_until="commit")
    page.wait_for_selector("body[data-ready]")


def test_a_rater_is_told_while_answers_are_not_stored_and_no_longer(study, visit):
    page = visit(study)
    page.click("#begin")
    page.evaluate(FULL)
    page.keyboard.press("1")
    becomes(page, lambda: page.inner_text("#storage-warning"), UNSTORED)
    assert page.evaluate("document.getElementById('stored-note').hidden")
    page.evaluate(EMPTIED)
    page.keyboard.press("1")
    becomes(page, lambda: page.inner_text("#storage-warning"), "")
    again(page)
    assert "2 of" in page.inner_text("#welcome")
    assert STAYS in page.inner_text("#welcome")


def test_a_rater_whose_browser_keeps_nothing_is_told_at_once(study, visit):
    page = visit(study)
    page.add_init_script("Storage.prototype.getItem = () => { throw new Error('none') }")
    again(page)
    assert page.inner_text("#storage-warning") == UNSTORED
    assert STAYS not in page.inner_text("#welcome")


@pytest.mark.parametrize("stored", ['{"answers": [[1', "3", "{}", "null"])
def test_answers_that_cannot_be_read_are_begun_anew_and_stored(study, visit, stored):
    page = visit(study)
    page.click("#begin")
    page.keyboard.press("1")
    assert page.evaluate("Object.keys(localStorage).length") == 1
    page.evaluate("stored => localStorage.setItem(Object.keys(localStorage)[0], stored)", stored)
    again(page)
    assert page.inner_text("#storage-warning") == ""
    assert "answered here before" not in page.inner_text("#welcome")
    assert STAYS in page.inner_text("#welcome")
    page.click("#begin")
    page.wait_for_selector("#choices img")


def test_the_explorer_says_whether_names_are_kept(explorer, visit):
    page = visit(explorer)
    words = "document.getElementById('storage-note').textContent"
    kept, unkept = "Kept in this browser.", "This browser stores nothing for pages opened from disk"

    def star(expected):
        page.click('.card [aria-label="favourite 7"]')
        becomes(page, lambda: page.evaluate(words).startswith(expected), True)

    page.fill("#search", "7")  # the card may be out of view, and not made
    page.evaluate(FULL)
    star(unkept)
    page.evaluate(EMPTIED)
    star(kept)
    page.evaluate("localStorage.setItem(Object.keys(localStorage)[0], '[[1')")
    again(page)
    assert page.evaluate(words).startswith(kept)
    page.add_init_script("Storage.prototype.getItem = () => { throw new Error('none') }")
    again(page)
    assert page.evaluate(words).startswith(unkept)
