"""The keyboard alone does all, and its place on the page is never lost."""

import pytest
from browser_waiting import becomes, soon

from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(usae_folder, run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("keyboard") / "page"
    explore(open_sources([usae_folder, str(run_folder)]), out, patches=2)
    return out


def focused(page):
    """What has the focus: its id, its concept and class, or its class."""
    return page.evaluate(
        """() => { const at = document.activeElement, card = at.closest(".card");
        return at.id && !card ? at.id : [card?.dataset.id, at.className].filter(Boolean).join(" "); }"""
    )


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_a_keeps_the_concept_and_how_far_one_had_scrolled(folder, visit):
    page = visit(folder, "sort=index&descending=false&size=l")
    press(page, "ArrowDown")
    becomes(page, lambda: focused(page), "0 card-link")
    for n in range(1, 7):
        press(page, "ArrowRight")
        becomes(page, lambda n=n: focused(page), f"{n} card-link")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 500
    press(page, "a")
    becomes(page, lambda: focused(page), "atlas-canvas")
    assert page.inner_text("#atlas-status").startswith("concept 6")
    press(page, "a")
    becomes(page, lambda: focused(page), "6 card-link")
    assert page.evaluate("scrollY") == scrolled
    press(page, "a")
    becomes(page, lambda: focused(page), "atlas-canvas")
    press(page, "ArrowLeft")
    if page.inner_text("#atlas-status").startswith("concept 6"):  # which lies at the left edge
        press(page, "ArrowRight")
    soon(page, lambda: not page.inner_text("#atlas-status").startswith("concept 6"))
    there = page.inner_text("#atlas-status").split(",")[0].removeprefix("concept ")
    press(page, "a")
    becomes(page, lambda: focused(page), f"{there} card-link")


def test_the_focus_goes_on_where_what_had_it_is_gone(folder, visit):
    page = visit(folder, "sort=index&descending=false&compare=3,5,7&side=false&query=0-8")
    page.focus("#comparison-tray .chip >> nth=1")
    press(page, "Enter")
    becomes(page, lambda: page.evaluate("document.activeElement.ariaLabel"), "remove 7 from the comparison")
    press(page, "Tab")
    becomes(page, lambda: page.inner_text(":focus"), "Clear")
    press(page, "Enter")
    becomes(page, lambda: focused(page), "cards")
    page.focus("#clear-filters")
    press(page, "Enter")
    becomes(page, lambda: focused(page), "cards")
    press(page, "ArrowRight", "f", "ArrowRight", "f")
    becomes(page, lambda: page.inner_text("#favourite-count"), "2")
    page.focus("#favourites")
    press(page, "Enter")
    becomes(page, lambda: page.inner_text("#result-count"), "2 of 13 concepts")
    page.focus('.card[data-id="0"] .card-link')
    press(page, "f")  # which takes the card away
    becomes(page, lambda: focused(page), "1 card-link")
    press(page, "f")
    becomes(page, lambda: focused(page), "cards")


def test_a_sheets_buttons_keep_the_focus(folder, visit):
    page = visit(folder, "sort=index&descending=false&concept=3")
    page.wait_for_selector("dialog[open] .close:focus")
    page.focus("dialog [aria-label='the next concept']")
    for concept in ("4", "5"):
        press(page, "Enter")
        page.wait_for_selector(f"dialog[open] .concept-part[aria-label='concept {concept}']")
        assert page.evaluate("document.activeElement.ariaLabel") == "the next concept"
    page.go_back(wait_until="commit")
    page.wait_for_load_state()  # a page that was closed on its way back once hung for ever
    page.close()


def test_the_filters_of_a_phone_hold_the_focus_until_they_are_closed(folder, visit):
    page = visit(folder)
    page.set_viewport_size({"width": 400, "height": 800})
    page.focus("#filters")
    press(page, "Enter")
    becomes(page, lambda: focused(page), "text-button close-panel")
    for _ in range(60):
        press(page, "Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('#panel, .skip')"
        )
    press(page, "Escape")
    becomes(page, lambda: focused(page), "filters")
    assert not page.is_visible("#panel")


def test_every_control_is_reached_by_tab(folder, visit):
    page = visit(folder, "query=3-5&compare=3,5&side=false&scene=cards")
    reached = set()
    for _ in range(120):
        press(page, "Tab")
        reached.add(focused(page))
    for control in (
        "search",
        "sort",
        "sort-direction",
        "size",
        "atlas-toggle",
        "favourites",
        "clear-filters",
        "copy-link",
        "export",
        "compare",
    ):
        assert control in reached, control
    for concept in "345":
        assert {f"{concept} card-link", f"{concept} icon-button compare", f"{concept} icon-button star"} <= reached
