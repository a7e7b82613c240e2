"""The explorer in a real Chromium, from disk and without a network."""

import json
import re

import pytest
import torch
from browser_waiting import becomes, soon
from typer.testing import CliRunner

import usae_train as ut
from usae_train.model.statistics import Statistics
from usae_viz.cli import app
from usae_viz.concepts.labels import concepts_by_name, read_labels, replace_names
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.concepts.ranking import concept_rows
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def atlas(usae_folder, run_folder, tmp_path_factory):
    """Every concept of the tiny USAE, with the pictures of a run."""
    out = tmp_path_factory.mktemp("atlas") / "a page #1 & more"
    explore(open_sources([usae_folder, str(run_folder)]), out)
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A USAE of 3000 concepts, bare: made-up figures, no pictures."""
    place = tmp_path_factory.mktemp("many")
    usae = ut.USAE({"left": 4, "right": 4}, 3000, 4)
    usae.statistics = made_up()
    folder = str(ut.save(usae, place / "usae"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usae_viz.explorer.tsne.PHASE_STEPS", (1, 1))  # made-up atoms have no order to be found
        explore(open_sources([folder]), place / "page")
    return place / "page"


def made_up():
    """Figures of 3000 concepts, a hundred of which one backbone never fires."""
    generator = torch.Generator().manual_seed(0)
    fires = torch.randint(0, 5000, (2, 3000), generator=generator)
    fires[1, :100] = 0
    return Statistics(
        fires=fires,
        co_fires=fires.amin(0) // 2,
        energy=torch.rand(2, 3000, generator=generator),
        quantiles=torch.rand(2, 3000, 5, generator=generator),
        top_images=torch.full((2, 3000, 8), -1),
        top_tokens=torch.zeros(2, 3000, 8, dtype=torch.int32),
        counts=torch.tensor([100, 10_000]),
    )


def ids(page):
    """The cards in reading order, as far as they have been made."""
    return page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.dataset.id)")


def addressed(page, part):
    """Wait until the address says something: it follows the view a moment later."""
    soon(page, lambda: part in page.url)


def shows(page, *expected):
    """Wait until these cards are shown, in this order."""
    becomes(page, lambda: ids(page), list(expected))


def found(page):
    """How many concepts the page says that it shows."""
    return int(re.match(r"[\d,]+", page.inner_text("#result-count")).group().replace(",", ""))


def test_it_shows_what_was_drawn_and_what_is_known(atlas, visit, usae_folder):
    page = visit(atlas)
    assert page.inner_text("h1") == "first"
    assert found(page) == 13
    card = page.locator('.card[data-id="3"]')
    assert card.locator(".tile img").count() == 3
    alternatives = [image.get_attribute("alt") for image in card.locator(".tile img").all()]
    assert [words.partition(",")[0] for words in alternatives] == [
        "concept 3 through left",
        "concept 3 through right",
        "concept 3 shared by all backbones",
    ]
    assert "not drawn" in page.locator('.card[data-id="4"]').inner_text()
    statistics = ut.load(usae_folder).statistics
    assert f"{statistics.universality[3]:.2f}" in card.inner_text()


def test_weak_and_failed_pictures_are_marked_and_found(atlas, visit):
    page = visit(atlas)
    tiles = page.evaluate(
        """[...document.querySelectorAll('.tile img')].map((image) =>
        [image.alt, image.parentElement.className, image.parentElement.textContent])"""
    )
    marked = [(alt.partition(", code")[0], name, badge) for alt, name, badge in tiles if badge]
    assert sorted(marked) == [
        ("concept 5 through left, failed", "tile failed", "failed"),
        ("concept 5 through right, weak", "tile weak", "weak"),
    ]
    assert {name for alt, name, _ in tiles if alt.startswith("concept 3 ")} == {"tile strong"}
    for wanted in ("failed", "weak"):
        page.select_option('.select-filter:has-text("Pictures") select', wanted)
        shows(page, "5")
    page.select_option('.select-filter:has-text("Pictures") select', "strong")
    shows(page, "3", "Concept(3) - Concept(5)")


def test_a_hostile_label_stays_text(atlas, visit, hostile):
    page = visit(atlas)
    assert hostile in page.locator('.card[data-id="3"]').inner_text()
    page.fill("#search", "<script>alert")
    shows(page, "3")
    page.click('.card[data-id="3"] .card-link')
    page.locator("dialog .label-editor input").fill(hostile)
    page.keyboard.press("Tab")
    soon(page, lambda: hostile in page.locator('.card[data-id="3"] .name').inner_text())  # the name has been taken
    assert hostile in page.locator("dialog").inner_text()  # the label that it follows
    assert page.locator("main script, dialog script, main img[onerror], dialog img[onerror]").count() == 0
    assert page.evaluate("[...document.querySelectorAll('*')].every((one) => !one.getAttribute('onerror'))")


def test_sorting_is_the_command_lines(atlas, visit, usae_folder):
    usae = ut.load(usae_folder)
    page = visit(atlas)
    for key, ours in (("energy", "energy"), ("fires.left", None), ("index", "index")):
        page.select_option("#sort", key)
        if ours is None:
            expected = usae.statistics.fires[0].argsort(descending=True, stable=True).tolist()
        else:
            expected = [row.concept for row in concept_rows(usae, ours)]
        becomes(page, lambda: [int(each) for each in ids(page)][:6], expected[:6])
    page.select_option("#sort", "energy")
    page.click("#sort-direction")
    becomes(page, lambda: ids(page)[0], str(int(usae.statistics.energy.mean(0).argmin())))
    addressed(page, "descending=false")


def test_filters(many, visit):
    page = visit(many)
    assert found(page) == 3000
    page.select_option(".firing-selects select >> nth=0", "left")
    page.select_option(".firing-selects select >> nth=1", "right")
    left, right = made_up().fires
    becomes(page, lambda: found(page), int(((left >= 10) & (right < 10)).sum()))  # 0.1% of 10,000 patches
    page.fill(".firing-threshold", "49")
    page.keyboard.press("Enter")
    becomes(page, lambda: found(page), int(((left >= 4900) & (right < 4900)).sum()))
    page.click("#clear-filters")
    becomes(page, lambda: found(page), 3000)
    slider = page.locator('input[aria-label="universality, at least"]')
    slider.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    soon(page, lambda: slider.input_value() == "60")  # three steps of a tenth of 200
    addressed(page, "range.universality=")
    soon(page, lambda: 0 < found(page) < 3000)
    page.wait_for_timeout(300)  # longer than the address follows the view
    low = float(re.search(r"range.universality=([\d.]+)\.\.", page.url).group(1))
    again = visit(many, page.url.partition("#")[2])
    assert found(again) == found(page)  # a link to a view
    shown = [float(text) for text in again.locator(".stat:first-child dd").all_inner_texts()]
    assert min(shown) >= low - 0.005


def test_by_label_and_by_pictures(atlas, visit):
    page = visit(atlas)
    page.select_option('.select-filter:has-text("Label") select', "texture: dots")
    shows(page, "5")
    page.click("#clear-filters")
    page.select_option('.select-filter:has-text("Pictures") select', "drawn")
    becomes(page, lambda: set(ids(page)), {"3", "5", "Concept(3) - Concept(5)"})
    page.fill("#search", "5")
    shows(page, "5")
    page.fill("#search", "no such thing")
    page.wait_for_selector("#no-results", state="visible")
    shows(page)


def test_favourites_and_names_are_kept_exported_and_understood(atlas, visit, usae_folder, tmp_path):
    page = visit(atlas)
    page.fill("#search", "7")  # the card may be out of view, and not made
    page.click('.card[data-id="7"] .star')
    page.fill("#search", "3")
    page.click('.card[data-id="3"] .card-link')
    page.fill("dialog .label-editor input", "my reds, and more")
    page.keyboard.press("Tab")
    page.wait_for_selector("dialog [role=alert]:has-text('no comma')")
    page.fill("dialog .label-editor input", "My Reds")
    page.fill("dialog textarea", "warm <b>")
    page.keyboard.press("Tab")  # a field's words are taken when it is left
    kept = "Object.values(localStorage).join()"
    soon(page, lambda: "My Reds" in page.evaluate(kept) and "warm <b>" in page.evaluate(kept))
    page.keyboard.press("Escape")
    soon(page, lambda: "concept=" not in page.url)  # what is loaded again opens what the address says
    becomes(page, lambda: page.inner_text("#favourite-count"), "1")
    page.reload(wait_until="commit")
    page.wait_for_selector("body[data-ready]")
    assert "My Reds" in page.inner_text('.card[data-id="3"]')
    page.fill("#search", "")
    page.click("#favourites")
    shows(page, "7")
    assert page.get_attribute('.card[data-id="7"] .star', "aria-pressed") == "true"
    page.click("#favourites")
    becomes(page, lambda: found(page), 13)
    with page.expect_download() as download:
        page.click("#export")
    file = tmp_path / "labels.json"
    download.value.save_as(file)
    usae = ut.load(usae_folder)
    labels = read_labels(file, usae)
    assert [(each.concept, each.name, each.favourite, each.note) for each in labels] == [
        (3, "My Reds", False, "warm <b>"),
        (7, "", True, ""),
    ]
    assert parse_concepts(usae, replace_names("my reds, favourites", concepts_by_name(labels))) == [3, 7]
    listed = CliRunner().invoke(app, ["concepts", "--usae", usae_folder, "--labels", str(file), "--json"])
    assert {row["concept"]: row.get("name") for row in json.loads(listed.stdout)}[3] == "My Reds"
    page.fill("#search", "7")
    page.click('.card[data-id="7"] .star')
    becomes(page, lambda: page.inner_text("#favourite-count"), "0")
    page.set_input_files("#import", file)
    page.wait_for_selector("#import-status:has-text('2 labels imported.')")
    becomes(page, lambda: page.inner_text("#favourite-count"), "1")
    file.write_text(json.dumps({"schema": 1, "usae_sha256": "f" * 64, "labels": []}))
    page.set_input_files("#import", file)
    page.wait_for_selector("#import-status:has-text('another USAE')")


def test_heat_maps_show_on_focus(atlas, visit):
    page = visit(atlas)
    page.locator('.card[data-id="3"] .patch').first.focus()
    page.wait_for_selector("#glimpse canvas")
    assert page.locator("#glimpse .heat-map").count() == 2
    assert "<b>&#.png" in page.inner_text("#glimpse")  # a file's name
    loaded = "[...document.querySelectorAll('#glimpse img')].every((image) => image.naturalWidth > 0)"
    soon(page, lambda: page.evaluate(loaded))
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#glimpse:has-text('no. 2 through left')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#glimpse", state="hidden")


def test_the_keyboard_alone_is_enough(atlas, visit):
    page = visit(atlas)
    page.keyboard.press("ArrowDown")
    order = ids(page)

    def focused():
        return page.evaluate("document.activeElement.closest('.card')?.dataset.id")

    becomes(page, focused, order[0])
    page.keyboard.press("ArrowRight")
    becomes(page, focused, order[1])
    page.keyboard.press("f")
    becomes(page, lambda: page.get_attribute(f'.card[data-id="{order[1]}"] .star', "aria-pressed"), "true")
    becomes(page, focused, order[1])
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    addressed(page, f"concept={order[1]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'dialog .concept-part[aria-label="concept {order[2]}"]')
    page.keyboard.press("Escape")
    becomes(page, focused, order[2])  # a dialog says that it has closed a moment later
    page.keyboard.press("/")
    becomes(page, lambda: page.evaluate("document.activeElement.id"), "search")


def test_a_link_to_a_concept_opens_it(atlas, visit):
    page = visit(atlas, "concept=5")
    page.wait_for_selector("dialog[open] table.transfer")
    assert page.locator("dialog .large-picture").count() == 3
    loaded = "[...document.querySelectorAll('dialog img')].every((image) => image.naturalWidth > 0)"
    soon(page, lambda: page.evaluate(loaded))
    nonsense = visit(atlas, "concept=99&sort=beauty&range.nothing=1..2&threshold=x&size=xxl")
    assert found(nonsense) == 13


def test_without_natural_pictures_there_is_no_heading_of_them(atlas, many, visit):
    for folder, headings in ((atlas, ["Top-activating patches", "Figures"]), (many, ["Figures"])):
        page = visit(folder, "concept=5")
        page.wait_for_selector("dialog[open] .figures")
        assert page.locator("dialog .patches-and-figures h3").all_inner_texts() == headings


def test_comparing(atlas, visit):
    page = visit(atlas)
    for concept in ("3", "5"):
        page.click(f'.card[data-id="{concept}"] .compare')
    page.click("#compare")
    page.wait_for_selector("dialog[open].comparison")
    becomes(page, lambda: compared(page), ["concept 3", "concept 5"])
    addressed(page, "compare=3%2C5")


def compared(page):
    """The concepts side by side, read at one moment."""
    return page.evaluate(
        "[...document.querySelectorAll('dialog.comparison[open] .concept-part')].map((part) => part.ariaLabel)"
    )


def test_a_link_to_a_comparison_opens_it(atlas, visit):
    page = visit(atlas)
    difference = "Concept(3) - Concept(5)"
    for card in ("3", difference):
        page.fill("#search", card)  # the card may be out of view, and not made
        page.click(f'.card[data-id="{card}"] .compare')
    addressed(page, "side=false")
    chosen = visit(atlas, page.url.partition("#")[2])
    becomes(chosen, lambda: chosen.locator("#comparison-tray .chip").count(), 2)
    assert chosen.locator("dialog[open]").count() == 0  # nobody has asked for it yet
    page.click("#compare")
    addressed(page, "side=true")
    again = visit(atlas, page.url.partition("#")[2])  # the address that the page made
    again.wait_for_selector("dialog[open].comparison")
    becomes(page, lambda: compared(again), ["concept 3", f"concept {difference}"])
    page = visit(atlas, "compare=3,5")  # as one types it
    page.wait_for_selector("dialog[open].comparison")
    becomes(page, lambda: compared(page), ["concept 3", "concept 5"])
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    addressed(page, "side=false")  # the dialog's closing has been heard
    assert page.locator("#comparison-tray .chip").count() == 2
    page.evaluate("location.hash = '#compare=5,4,3'")  # a link within the page
    becomes(page, lambda: compared(page), ["concept 5", "concept 4", "concept 3"])
    page.evaluate("location.hash = '#concept=7&compare=5,4'")  # a concept is asked for by itself
    page.wait_for_selector("dialog[open].single .concept-part[aria-label='concept 7']")
    for nonsense in ("compare=3", "compare=3,3", "compare=3,99,%25E0%25A4%25A"):
        page = visit(atlas, nonsense)
        assert [chip.inner_text() for chip in page.locator("#comparison-tray .chip").all()] == ["3 ✕"]
        assert page.locator("dialog[open]").count() == 0


def test_a_comparison_of_objectives_with_commas_has_an_address(atlas, visit):
    page = visit(atlas)
    ids = ["Concept(3, pool='max')", "100%", "5"]
    there = page.evaluate(
        """(ids) => fromHash(toHash({...VIEW, compare: ids}, VIEW), VIEW,
        {place: new Map(ids.map((id) => [id, 0])), column: new Map(), runs: []}).compare""",
        ids,
    )
    assert there == ids


def test_only_what_is_in_view_is_made_and_loaded(many, visit):
    page = visit(many)
    assert len(ids(page)) < 60
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    soon(page, lambda: page.locator('.card[aria-posinset="3000"]').count())
    soon(page, lambda: not page.locator('.card[aria-posinset="1"]').count())
    assert len(ids(page)) < 60
    assert page.evaluate("document.querySelectorAll('script[src*=details]').length") == 0


def test_a_phone_has_no_sideways_scrolling(atlas, visit):
    page = visit(atlas)
    page.set_viewport_size({"width": 360, "height": 740})
    soon(page, lambda: page.evaluate("document.querySelector('.card').offsetWidth") < 360)
    soon(page, lambda: page.evaluate("document.documentElement.scrollWidth") <= 360)
    page.click("#filters")
    page.wait_for_selector("#panel", state="visible")
    page.click(".close-panel")
    page.wait_for_selector("#panel", state="hidden")


def test_small_cards_keep_the_dots_of_the_backbones(atlas, visit):
    """Their names go, and with a width in letters of no size the dots went too."""
    page = visit(atlas, "size=s")
    page.wait_for_selector(".top-patches .dot", state="attached")
    boxes = "[...document.querySelectorAll('.top-patches .backbone')].map((name) => name.getBoundingClientRect().width)"
    becomes(page, lambda: min(page.evaluate(boxes)) > 4, True)


def test_every_control_has_a_name(atlas, visit):
    page = visit(atlas, "concept=3")
    page.wait_for_selector("dialog[open]")
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, a, input:not([type=file]), select, textarea')].filter((control) =>
        !(control.ariaLabel || control.textContent.trim() || control.labels?.length)).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")


def test_a_filter_is_shown_where_there_is_something_to_choose(atlas, many, visit):
    for folder, shown in ((atlas, True), (many, False)):
        labels = visit(folder).locator("label.select-filter").filter(has_text="Label")
        assert labels.is_visible() == shown
