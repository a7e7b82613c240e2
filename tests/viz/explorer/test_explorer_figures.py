"""That the page shows each figure, picture and heat map where it belongs: compared with what it was made from."""

import base64
import json
import math
import shutil

import pytest
from browser_waiting import becomes, soon

import usae_train as ut
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources
from usae_viz.export.png import read_png

pytestmark = pytest.mark.browser
NAMES = ("left", "right")


@pytest.fixture(scope="module")
def page_folder(usae_folder, run_folder, tmp_path_factory):
    """Every concept of the tiny USAE, with the pictures of a run."""
    out = tmp_path_factory.mktemp("figures") / "page"
    explore(open_sources([usae_folder, str(run_folder)]), out, patches=3)
    return out


@pytest.fixture(scope="module")
def two_runs(run_folder, tmp_path_factory):
    """A run, and a copy of it."""
    other = shutil.copytree(run_folder, tmp_path_factory.mktemp("runs") / "second")
    out = tmp_path_factory.mktemp("two") / "page"
    explore(open_sources([str(run_folder), str(other)]), out, patches=0)
    return out


def said(page, value, kind="number", digits=4):
    """A figure as the page writes it; statistics are given to it with four digits, pictures' scores with all."""
    return page.evaluate("([value, kind]) => figure(value, kind)", [float(f"{value:.{digits}g}"), kind])


def cells(page, where):
    """A table's rows, a list of the cells' words each."""
    read = "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    return page.locator(where).evaluate_all(read)


def natural(page_folder, concept):
    """What the page keeps of a concept's natural pictures: of each backbone, its pictures."""
    text = (page_folder / "explorer" / "details" / f"{concept}.js").read_text()
    return json.loads("[" + text[len("usaeDetail(") : text.rindex(")")] + "]")[1]["natural"]


def lights(page, canvases):
    """How much each canvas dims its patches, 0..255."""
    return page.evaluate(
        """(canvases) => [...document.querySelectorAll(canvases)].map((canvas) => [...canvas.getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 3))""",
        canvases,
    )


def dimmed(entry, row):
    """How much of a picture is dimmed through one backbone: all where the concept is silent, least where loudest."""
    return [round(215 * (1 - math.sqrt(code / 255))) for code in base64.b64decode(entry["heat"][row])]


def test_heat_maps_are_the_codes_of_their_backbone(page_folder, visit):
    rows = natural(page_folder, 3)
    page = visit(page_folder, "concept=3")
    page.wait_for_selector("dialog[open] canvas")
    shown = lights(page, "dialog canvas")
    expected = [dimmed(entry, row) for row, entries in enumerate(rows) for entry in entries]
    assert shown == expected
    assert expected[0] != expected[0][::-1]
    codes = [said(page, entry["codes"][row]) for row, entries in enumerate(rows) for entry in entries]
    assert page.locator("dialog .natural-pictures .code").all_inner_texts() == codes
    page.locator("dialog .natural-pictures > div").nth(1).locator(".whole-picture").first.hover()  # right's strongest
    becomes(page, lambda: lights(page, "#glimpse canvas"), [dimmed(rows[1][0], row) for row in range(2)])
    assert page.locator("#glimpse .code").all_inner_texts() == [said(page, code) for code in rows[1][0]["codes"]]


def test_natural_patches_are_cut_from_their_place(page_folder, visit):
    """A concept's patches are one picture: a row per backbone, the strongest first."""
    page = visit(page_folder)
    style = "(strip) => [...strip.querySelectorAll('button')].map((patch) => patch.style.backgroundPosition)"
    strips = page.locator('.card[data-id="3"] .strip').all()
    assert [strip.evaluate(style) for strip in strips] == [
        ["0% 0%", "50% 0%", "100% 0%"],
        ["0% 100%", "50% 100%", "100% 100%"],
    ]


def test_figures_stand_under_their_own_backbone(page_folder, visit, usae_folder):
    statistics = ut.load(usae_folder).statistics
    page = visit(page_folder, "concept=5")
    page.wait_for_selector("dialog[open] .figures table")
    expected = {
        "fires": (statistics.firing_share, "share"),
        "co-firing": (statistics.co_firing, "share"),
        "energy": (statistics.energy, "number"),
        "largest code": (statistics.quantiles[:, :, -1], "number"),
    }
    rows = [[name, *(said(page, of[row, 5].item(), kind) for row in range(2))] for name, (of, kind) in expected.items()]
    assert cells(page, "dialog .figures tbody tr") == rows
    assert [left != right for _, left, right in rows].count(True) > 1
    assert cells(page, "dialog .figures thead tr") == [["", *NAMES]]


def test_a_card_has_its_own_figures(page_folder, visit, usae_folder):
    statistics = ut.load(usae_folder).statistics
    page = visit(page_folder)
    for concept in (3, 5):
        page.fill("#search", str(concept))
        card = page.locator(f'.card[data-id="{concept}"]')
        pairs = [
            (one.locator("dt").inner_text(), one.locator("dd").inner_text()) for one in card.locator(".stat").all()
        ]
        assert pairs == [
            ("universality", said(page, statistics.universality[concept].item(), "share")),
            ("firing entropy", said(page, statistics.firing_entropy[concept].item(), "share")),
            ("energy", said(page, statistics.energy.mean(0)[concept].item())),
        ]
        shares = [said(page, statistics.co_firing[row, concept].item(), "share") for row in range(2)]
        assert [text.split()[-1] for text in card.locator(".co-firing").all_inner_texts()] == shares


def test_scores_stand_under_their_own_backbone(page_folder, visit, run_folder):
    page = visit(page_folder, "concept=5")
    page.wait_for_selector("dialog[open] table.transfer")
    scores = {
        name: read_png(run_folder / "concept-00005" / f"{name}.png")["scores"]["backbones"]
        for name in (*NAMES, "shared")
    }
    found = {row[0].split()[0]: row[1:] for row in cells(page, "dialog table.transfer tbody tr")}
    words = {
        picture: [f"{said(page, own[name]['code'], digits=17)} #{own[name]['rank']}" for name in NAMES]
        for picture, own in scores.items()
    }
    assert found == words
    marked = page.evaluate("[...document.querySelectorAll('dialog .large-picture.failed')].map((one) => one.innerText)")
    (failed,) = marked
    assert failed.splitlines()[:2] == ["failed", "left"]
    assert "failed: fires in 0.0% of tokens" in failed
    said_of = page.evaluate(
        "[...document.querySelectorAll('dialog .large-picture .verdict')].map((one) => one.innerText)"
    )
    assert said_of[:2] == ["failed: fires in 0.0% of tokens", "weak: rank 7"]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.fill("#search", "5")
    matrix = page.locator('.card[data-id="5"] .matrix')
    rounded = {picture: [said(page, round(own[name]["code"], 2)) for name in NAMES] for picture, own in scores.items()}
    assert matrix.get_attribute("aria-label") == "Transfer. " + ". ".join(
        f"{picture} picture: {left} through left, {right} through right" for picture, (left, right) in rounded.items()
    )
    right = page.locator('.card[data-id="5"] .tile img[alt*="through right"]')
    assert right.get_attribute("alt").endswith(f", code {rounded['right'][1]}")
    assert right.get_attribute("src").endswith("/concept-00005/right.webp")


def test_two_runs_side_by_side_and_one_alone(two_runs, visit):
    page = visit(two_runs)
    sources = (
        "[...document.querySelectorAll('.card[data-id=\"3\"] .tile img')].map((image) => image.getAttribute('src'))"
    )
    one, two = ([f"explorer/thumbs/{run}/concept-00003/{name}.webp" for name in (*NAMES, "shared")] for run in (0, 1))
    becomes(page, lambda: page.evaluate(sources), one + two)
    assert page.locator('.card[data-id="3"] .row-name').all_inner_texts() == ["first", "second"]
    page.select_option("#runs", label="second")
    becomes(page, lambda: page.evaluate(sources), two)
    page.click('.card[data-id="3"] .card-link')
    page.wait_for_selector("dialog[open] .runs.side-by-side")
    titles = page.locator("dialog .run h3").all_inner_texts()
    assert [title.split()[0] for title in titles] == ["first", "second"]
    runs = "(run) => [...run.querySelectorAll('.large-picture img')].map((i) => i.getAttribute('src').split('/')[2])"
    assert [run.evaluate(runs) for run in page.locator("dialog .run").all()] == [["0"] * 3, ["1"] * 3]


def test_what_has_no_figure_comes_last_either_way(page_folder, visit):
    page = visit(page_folder)
    page.select_option("#sort", "energy")
    last = "[...document.querySelectorAll('.card')].at(-1).dataset.id"
    for turned in (False, True):
        if turned:
            page.click("#sort-direction")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        becomes(page, lambda: page.evaluate(last), "Concept(3) - Concept(5)")


def test_search_finds_notes_and_numbers_from_their_start(page_folder, visit):
    page = visit(page_folder)
    shown = "[...document.querySelectorAll('.card')].map((card) => card.dataset.id)"
    page.fill("#search", "0")
    becomes(page, lambda: page.evaluate(shown), ["0"])
    page.click('.card[data-id="0"] .card-link')
    page.fill("dialog textarea", "like Cobwebs")
    page.fill("dialog .label-editor input", "zzz")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.fill("#search", "cobweb")
    becomes(page, lambda: page.evaluate(shown), ["0"])
    page.fill("#search", "")
    page.select_option("#sort", "name")
    soon(page, lambda: page.evaluate(shown)[0] != "0")  # from a to z
    page.click("#sort-direction")
    becomes(page, lambda: page.evaluate(shown)[0], "0")


def test_ranges_bound_above_too_and_are_cleared(page_folder, visit, usae_folder):
    energy = ut.load(usae_folder).statistics.energy.mean(0)
    lower, upper = energy.sort().values[5:7].tolist()
    page = visit(page_folder, f"range.energy=0..{(lower + upper) / 2:.9f}&sort=index")
    becomes(page, lambda: page.inner_text("#result-count"), "6 of 13 concepts")
    page.click("#clear-filters")
    becomes(page, lambda: page.inner_text("#result-count"), "13 concepts")
