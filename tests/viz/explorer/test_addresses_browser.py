"""Every view has its address: loaded again, gone back to and forward to, it is the very same view."""

import shutil

import pytest
from browser_waiting import TURN, becomes, soon

from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser

STATE = """() => ({
  address: location.hash,
  found: document.querySelector("#result-count").textContent,
  atlas: !document.querySelector("#atlas").hidden,
  cards: [...document.querySelectorAll("#grid:not([hidden]) .card")].map((card) => card.dataset.id).slice(0, 2),
  images: document.querySelectorAll("#grid:not([hidden]) .card:nth-child(-n + 2) img").length,
  chips: [...document.querySelectorAll("#comparison-tray .chip")].map((chip) => chip.textContent),
  open: [...document.querySelectorAll("dialog[open] .concept-part")].map((part) => part.ariaLabel),
  fields: [...document.querySelectorAll(":is(.page-header, #panel) :is(input, select)")].map((field) => field.value),
  pressed: [...document.querySelectorAll(".page-header [aria-pressed=true]")].map((button) => button.id),
})"""

VIEWS = {
    "sorted": "sort=energy&descending=false",
    "searched": "query=4-6%2C+dots",
    "filtered": "fires=left&threshold=0.2&pictures=drawn&range.universality=0..1",
    "a run": "run=1",
    "a run's atlas": "run=1&scene=atlas&colour=energy&viewport=0.25%2C0.5%2C3",
    "a concept": "sort=index&descending=false&concept=3",
    "a concept over the atlas": "scene=atlas&concept=5",
    "chosen": "compare=3%2C5&side=false",
    "side by side": "compare=5%2C3&side=true",
    "side by side, over the atlas of a run": "run=0&scene=atlas&compare=5%2C3&side=true",
}
NONSENSE = "run=&fires=nobody&not=1&pictures=yes&threshold=2&side=true&scene=x&size=&compare=3&concept=-1"


@pytest.fixture(scope="module")
def folder(usae_folder, run_folder, tmp_path_factory):
    """Twelve concepts; one run drew 3, 5 and a difference, the other 5 alone."""
    place = tmp_path_factory.mktemp("addresses")
    other = shutil.copytree(run_folder, place / "second")
    shutil.rmtree(other / "concept-00003")
    explore(open_sources([usae_folder, str(run_folder), str(other)]), place / "page", patches=1)
    return place / "page"


def settled(page):
    """The page's state once its address has followed the view, and what is open is shown."""
    page.wait_for_timeout(250)
    return page.evaluate(STATE)


def test_a_link_of_before_is_read(folder, visit):
    page = visit(folder, "shows=atlas&look=0.25,0.5,3&fires=left&least=0.2")
    page.click("#favourites")  # the address says the view by today's names once it has changed
    page.wait_for_timeout(250)
    assert page.evaluate("location.hash") == (
        "#favourites=true&fires=left&threshold=0.2&scene=atlas&viewport=0.25%2C0.5%2C3"
    )


@pytest.mark.parametrize("name", VIEWS)
def test_an_address_restores_its_view(name, folder, visit):
    page = visit(folder, VIEWS[name])
    before = settled(page)
    assert before["address"] == f"#{VIEWS[name]}"
    page.reload(wait_until="commit")
    page.wait_for_selector("body[data-ready]")
    becomes(page, lambda: settled(page), before)
    page.evaluate("location.hash = ''")
    becomes(page, lambda: settled(page)["open"], [])
    page.go_back(wait_until="commit")
    becomes(page, lambda: settled(page), before)


def test_what_an_address_says_wrongly_is_as_if_it_said_nothing(folder, visit):
    plain, nonsense = (settled(visit(folder, hash_)) for hash_ in ("", NONSENSE))
    assert nonsense["chips"] == ["3 ✕"]
    assert nonsense | {"chips": [], "address": ""} == plain


def test_back_and_forward_go_through_what_was_opened(folder, visit):
    page = visit(folder)
    steps = [settled(page)]

    def then(act, done):
        act()
        soon(page, lambda: done(settled(page)))
        steps.append(settled(page))

    page.fill("#search", "3-5")
    becomes(page, lambda: settled(page)["found"], "3 of 13 concepts")
    steps = [settled(page)]
    then(lambda: page.click('.card[data-id="3"] .card-link'), lambda state: state["open"] == ["concept 3"])
    page.keyboard.press("ArrowRight")  # on to the next: no step of its own
    soon(page, lambda: settled(page)["open"] != ["concept 3"])
    steps[-1] = settled(page)
    then(lambda: page.keyboard.press("Escape"), lambda state: state["open"] == [])
    then(lambda: page.click("#atlas-toggle"), lambda state: state["atlas"])
    for back in (2, 1, 0):
        page.go_back(wait_until="commit")
        becomes(page, lambda expected=steps[back]: settled(page), steps[back])
    for forward in (1, 2, 3):
        page.go_forward(wait_until="commit")
        becomes(page, lambda expected=steps[forward]: settled(page), steps[forward])


def test_a_closed_comparison_stays_closed(folder, visit):
    page = visit(folder, "compare=3,5")
    page.wait_for_selector("dialog[open].comparison")
    page.keyboard.press("Escape")
    soon(page, lambda: "side=false" in page.url)
    becomes(page, lambda: page.evaluate("document.activeElement.id"), "compare")
    page.reload(wait_until="commit")
    page.wait_for_selector("body[data-ready]")
    assert settled(page)["open"] == []
    assert settled(page)["chips"] == ["3 ✕", "5 ✕"]


def test_the_skip_link_keeps_the_view(folder, visit):
    page = visit(folder, "query=3-5")
    page.focus(".skip")
    page.keyboard.press("Enter")
    becomes(page, lambda: page.evaluate("document.activeElement.id"), "cards")
    assert settled(page)["address"] == "#query=3-5"
    page.keyboard.press("ArrowDown")
    becomes(page, lambda: page.evaluate("document.activeElement.className"), "card-link")


def test_a_card_in_a_tab_of_its_own_has_the_same_view_around_it(folder, visit):
    page = visit(folder, "query=4&sort=energy")
    link = page.locator('.card[data-id="4"] .card-link')
    assert link.get_attribute("href") == "#query=4&sort=energy&concept=4"
    with page.context.expect_page():
        link.click(modifiers=["ControlOrMeta"])
    assert settled(page)["open"] == []


def test_the_atlas_shows_the_chosen_run(folder, visit):
    page = visit(folder, "scene=atlas&viewport=0.5,0.5,1")
    page.evaluate(
        """() => { const really = CanvasRenderingContext2D.prototype.drawImage;
        globalThis.drawn = new Set();
        CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
          if (image.src) drawn.add(decodeURIComponent(image.src).replace(/.*thumbs/, "thumbs"));
          return really.call(this, image, ...rest);
        }; }"""
    )
    drawn = "() => [...drawn].filter((source) => source.startsWith('thumbs')).sort()"
    for run, expected in (
        ("1", ["thumbs/1/concept-00005/left.webp"]),
        ("0", ["thumbs/0/concept-00003/left.webp", "thumbs/0/concept-00005/left.webp"]),
    ):
        page.evaluate("drawn.clear()")
        page.select_option("#runs", run)
        becomes(page, lambda: page.evaluate(drawn), expected)


def test_what_is_gone_back_from_before_it_is_there_is_not_shown(folder, visit):
    page = visit(folder, "sort=index")
    page.evaluate(
        """async () => {
          document.querySelector(".card .card-link").click();
          history.back();
          await new Promise((done) => addEventListener("hashchange", done, { once: true }));
        }"""
    )
    assert settled(page)["open"] == []


@pytest.mark.parametrize(
    "race",
    [
        "document.querySelector('dialog').close(); location.hash = '#concept=7'",
        # the page's own address, which follows the view a moment later, comes between
        "location.hash = '#concept=7'; history.replaceState(null, '', '#concept=3')",
        # the link is followed before the closing is heard
        "document.querySelector('dialog').close(); dispatchEvent(new HashChangeEvent('hashchange', {newURL: LINK}))",
    ],
)
def test_a_link_is_followed_whatever_the_page_is_doing_meanwhile(folder, visit, race):
    page = visit(folder, "concept=3")
    page.wait_for_selector("dialog[open] .concept-part[aria-label='concept 3']")
    page.evaluate(race.replace("LINK", "location.href.replace(/#.*/, '#concept=7')"))
    page.wait_for_selector("dialog[open] .concept-part[aria-label='concept 7']")
    soon(page, lambda: "concept=7" in page.url)
    page.wait_for_timeout(2 * TURN)  # for what is heard late
    assert page.locator("dialog[open]").count() == 1
    assert page.url.endswith("#concept=7")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")


def test_what_is_closed_while_the_next_is_loaded_stays_closed(folder, visit):
    page = visit(folder, "concept=3")
    page.wait_for_selector("dialog[open] .concept-part[aria-label='concept 3']")
    page.evaluate(
        "document.querySelector('[aria-label=\"the next concept\"]').click(); document.querySelector('dialog').close()"
    )
    soon(page, lambda: "concept=" not in page.url)
    page.wait_for_timeout(2 * TURN)
    assert page.locator("dialog[open]").count() == 0
