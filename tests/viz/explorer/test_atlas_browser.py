"""The atlas in a real Chromium: pointer, wheel, touch, keys, filters and addresses; and links that copy themselves."""

import pytest
from browser_waiting import becomes, soon

from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(usae_folder, run_folder, tmp_path_factory):
    """Twelve concepts, two of them drawn, and an objective that has no place in the plane."""
    out = tmp_path_factory.mktemp("plane") / "page"
    explore(open_sources([usae_folder, str(run_folder)]), out, patches=2)
    return out


def pixel(page, concept):
    """Where a concept is on the screen, from the data and the address."""
    return page.evaluate(
        """(id) => {
        const box = document.querySelector("#atlas-canvas").getBoundingClientRect();
        const said = new URLSearchParams(location.hash.slice(1)).get("viewport") ?? "0.5,0.5,1";
        const [x, y, zoom] = said.split(",").map(Number), scale = 0.92 * zoom * Math.min(box.width, box.height);
        const { atlas, cards } = globalThis.given, at = cards.findIndex((card) => card.id === id);
        return [box.x + box.width / 2 + (atlas.x[at] - x) * scale, box.y + box.height / 2 + (atlas.y[at] - y) * scale];
        }""",
        concept,
    )


@pytest.fixture
def atlas(folder, visit):
    """The page, turned to the atlas by a click, with its data at hand."""
    page = visit(folder)
    data = (folder / "explorer" / "data.js").read_text()
    page.evaluate(f"globalThis.given = {data[len('usaeData(') : data.rindex(')')]}")
    page.click("#atlas-toggle")
    page.wait_for_selector("#atlas-canvas", state="visible")
    return page


def opened(page, concept):
    page.wait_for_selector(f'dialog[open] .concept-part[aria-label="concept {concept}"]')


def look(page):
    """Where the address says that the atlas looks."""
    page.wait_for_timeout(300)  # longer than the address follows
    said = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('viewport')")
    return [float(part) for part in (said or "0.5,0.5,1").split(",")]


def test_pointing_says_what_it_is_and_a_click_opens_it(atlas):
    atlas.mouse.move(*pixel(atlas, "3"))
    atlas.wait_for_selector("#glimpse:has-text('concept 3')")
    assert atlas.locator("#glimpse img").count() == 2  # as each backbone sees it
    atlas.mouse.click(*pixel(atlas, "3"))
    opened(atlas, "3")
    soon(atlas, lambda: "concept=3" in atlas.url and "scene=atlas" in atlas.url)
    atlas.keyboard.press("Escape")
    becomes(atlas, lambda: atlas.evaluate("document.activeElement.id"), "atlas-canvas")


def test_dragging_and_the_wheel_keep_what_is_under_the_pointer(atlas):
    x, y = pixel(atlas, "5")
    atlas.mouse.move(x, y)
    atlas.mouse.wheel(0, -250)
    becomes(atlas, lambda: look(atlas)[2] > 1.5, True)
    assert pixel(atlas, "5") == pytest.approx([x, y], abs=2)  # a pointer is at whole pixels
    atlas.mouse.down()
    atlas.mouse.move(x + 60, y - 40, steps=4)
    atlas.mouse.up()
    look(atlas)
    assert pixel(atlas, "5") == pytest.approx([x + 60, y - 40], abs=2)
    assert atlas.locator("dialog[open]").count() == 0  # a drag is no click
    atlas.click("#zoom-reset")
    becomes(atlas, lambda: look(atlas), [0.5, 0.5, 1.0])


def test_two_fingers_zoom(atlas):
    thread = atlas.context.new_cdp_session(atlas)
    box = atlas.locator("#atlas-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, apart):
        points = [{"x": x + side * apart, "y": y, "id": side} for side in (-1, 1)] if apart else []
        thread.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 50)
    for apart in (75, 100, 125, 150):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    becomes(atlas, lambda: look(atlas)[2] == pytest.approx(3, rel=0.1), True)
    assert look(atlas)[:2] == pytest.approx([0.5, 0.5], abs=0.02)


def test_keys_alone_go_everywhere(folder, visit):
    page = visit(folder)
    page.keyboard.press("a")
    page.wait_for_selector("#atlas-canvas", state="visible")
    page.focus("#atlas-canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#glimpse", state="visible")
    first = page.inner_text("#atlas-status")
    page.keyboard.press("ArrowLeft")
    becomes(page, lambda: page.inner_text("#atlas-status") != first, True)
    for key in ("+", "Shift+ArrowRight"):
        page.keyboard.press(key)
    becomes(page, lambda: look(page)[0] > 0.5 and look(page)[2] == 1.5, True)
    page.keyboard.press("0")
    becomes(page, lambda: look(page), [0.5, 0.5, 1.0])
    concept = page.inner_text("#atlas-status").split(",")[0].removeprefix("concept ")
    page.keyboard.press("c")
    becomes(page, lambda: page.inner_text("#comparison-tray .chip"), f"{concept} ✕")
    page.keyboard.press("Enter")
    opened(page, concept)
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.keyboard.press("a")
    page.wait_for_selector(".card")


def test_filters_leave_out_what_can_be_clicked(atlas):
    atlas.fill("#search", "7")
    becomes(atlas, lambda: atlas.inner_text("#result-count"), "1 of 13 concepts")
    atlas.mouse.move(*pixel(atlas, "3"))
    atlas.mouse.move(*pixel(atlas, "7"))
    atlas.wait_for_selector("#glimpse:has-text('concept 7')")
    atlas.mouse.click(*pixel(atlas, "3"))
    atlas.wait_for_timeout(300)
    assert atlas.locator("dialog[open]").count() == 0


def test_an_address_says_colour_and_place(folder, visit):
    page = visit(folder, "scene=atlas&colour=energy&viewport=0.25,0.75,4")
    assert page.input_value("#colour") == "energy"
    page.focus("#atlas-canvas")
    page.keyboard.press("+")
    becomes(page, lambda: look(page), [0.25, 0.75, 6.0])
    nonsense = visit(folder, "scene=atlas&colour=beauty&viewport=9,-1,x")
    assert nonsense.input_value("#colour") == "universality"
    assert visit(folder, "scene=nothing").locator(".card").count() > 0


def test_few_concepts_have_no_atlas(run_folder, tmp_path, visit):
    explore(open_sources([str(run_folder)]), tmp_path, patches=0)
    page = visit(tmp_path, "scene=atlas")
    assert not page.is_visible("#atlas-toggle")
    assert page.locator(".card").count() == 3


@pytest.mark.parametrize("granted", [True, False])
def test_a_link_copies_itself_and_says_so(granted, folder, visit):
    page = visit(folder, "sort=energy")
    taken = "globalThis.copied = ''; " + (
        "navigator.clipboard.writeText = async (text) => { copied = text; }"
        if granted
        else "navigator.clipboard.writeText = async () => { throw new Error('no'); };"
        "document.execCommand = () => { copied = document.activeElement.value; return true; }"
    )
    page.evaluate(f"() => {{ {taken} }}")
    page.click("#atlas-toggle")
    page.keyboard.press("l")
    becomes(page, lambda: page.inner_text("#status-message"), "Link copied.")
    assert page.evaluate("copied") == page.url
    assert "scene=atlas" in page.url
    page.evaluate("location.hash = 'concept=3'")
    opened(page, "3")
    page.keyboard.press("l")
    becomes(page, lambda: page.inner_text("dialog .sheet-status"), "Link copied.")
    assert page.evaluate("copied").endswith("#concept=3")
    assert page.evaluate("document.activeElement.className") == "icon-button close"


def test_a_link_that_cannot_be_copied_is_said(folder, visit):
    page = visit(folder)
    page.evaluate(
        "() => { navigator.clipboard.writeText = async () => { throw 0; }; document.execCommand = () => false; }"
    )
    page.click("#copy-link")
    page.wait_for_selector("#status-message:has-text('Not copied')")
