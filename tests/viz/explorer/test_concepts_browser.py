"""Concepts and their names are read by the page as `--concept` reads them: the same tables for both languages."""

import json

import pytest
from browser_waiting import becomes

import usae_train as ut
from usae_viz.concepts.labels import read_labels
from usae_viz.concepts.parsing import parse_concepts
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

pytestmark = pytest.mark.browser

LABELS = [(7, "warm reds"), (8, "warm"), (1, "twins"), (9, "Twins"), (11, "a [b")]
TEXTS = [
    *("3", " 3 , 1", "3,3", "12", "-1", "0012", "3.0", "9" * 25),
    *("4-6", "4 - 6, 5, 0", "6-4", "9-12", "4-", "-4-6", "4–6", "4 − 6", "4~6"),
    *("all", "ALL", "a l l", "favourites", "fav*"),
    *("top:3", "top: 12", "top:0", "top:13", "top:", "top:x", "Top:3", "T o p : 3"),
    *("warm reds", "WarmReds, 2", "warm", "warm*", "twins"),
    *("tw?ns", "tw?n", "[tu]w*", "[!t]*", "[a-t]wins", "[t-a]wins"),
    *("**s", "*" * 30 + "~"),
    *("cold", "cold*", "[", "[]", "[!]", "*", "", " , ", ",3,", "3 1", "3;1", "concept 3"),
    *("texture: dots", "texture:dots", "Dots", "dots", "texture:*", "colour:*", "textur", ":dots", "*dots"),
]
NAMES = [
    *("warm reds", "Ärger", "v2", "1.5", "(red)", "<b>", "a\nb", "colour: red", "x" * 200, "", "  "),
    *(
        "a-b",
        "40-42",
        "4 0 - 4 2",
        "40-",
        "4–6",
        "4−6",
        "4~6",
        "12",
        " 1 2 ",
        "-12",
        "٣",
        "١-٣",
        "1\u00a02",
        "1\u200b2",
    ),
    *("a,b", "a;b", "re*", "r?d", "[red]", "red]", "top:8", "T o p :x", "topper", "top"),
    *("all", "A L L", "all reds", "favourites", "Favourites ", "favourite"),
]


@pytest.fixture(scope="module")
def folder(usae_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("concepts") / "page"
    explore(open_sources([usae_folder]), out, patches=0)
    return out


@pytest.fixture
def page(folder, visit):
    """The page, with its data at hand."""
    page = visit(folder)
    data = (folder / "explorer" / "data.js").read_text()
    page.evaluate(f"globalThis.given = {data[len('usaeData(') : data.rindex(')')]}")
    return page


def labels_file(folder, labels):
    """A file as the page exports it."""
    known = [{"concept": k, "name": name, "favourite": k == 9, "note": ""} for k, name in labels]
    file = folder / "labels.json"
    file.write_text(json.dumps({"schema": 1, "labels": known}))
    return file


def in_python(make):
    try:
        return make()
    except ValueError:
        return "refused"


def test_texts_mean_the_same_concepts_as_on_the_command_line(page, usae_folder, tmp_path):
    usae = ut.load(usae_folder)
    named = [each for each in LABELS if "[" not in each[1]]
    labels = read_labels(labels_file(tmp_path, named), usae)
    seen = page.evaluate(
        """([texts, labels]) => texts.map((text) => {
        try { return parseConcepts(text, given.usae, labels); } catch (error) { return "refused"; }
        })""",
        [TEXTS, [label.model_dump() for label in labels]],
    )
    expected = [in_python(lambda text=text: parse_concepts(usae, text, labels)) for text in TEXTS]
    assert dict(zip(TEXTS, seen, strict=True)) == dict(zip(TEXTS, expected, strict=True))
    assert 15 < expected.count("refused") < len(TEXTS) - 15


def test_names_are_refused_as_on_the_command_line(page, usae_folder, tmp_path):
    usae = ut.load(usae_folder)

    def refused(name):
        return in_python(lambda: read_labels(labels_file(tmp_path, [(3, name)]), usae)) == "refused"

    seen = page.evaluate("(names) => names.map((name) => nameProblem(name) !== '')", NAMES)
    assert dict(zip(NAMES, seen, strict=True)) == {name: refused(name) for name in NAMES}
    assert 15 < sum(seen) < len(NAMES) - 10


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"concept": 12}, "No concept 12: this USAE has 12."),
        ({"concept": "3"}, "A label without the number of its concept."),
        ({"name": "4-6"}, "Concept 3 cannot be called “4-6”."),
        ({"name": 5}, "Concept 3: “name” is not as this page exports it."),
        ({"nmae": "red"}, "Concept 3: “nmae” is not as this page exports it."),
    ],
)
def test_a_file_that_the_command_line_refuses_is_not_taken(change, says, page, usae_folder, tmp_path):
    file = labels_file(tmp_path, [(5, "blue"), (3, "red")])
    written = json.loads(file.read_text())
    written["labels"][1] |= change
    file.write_text(json.dumps(written))
    page.set_input_files("#import", file)
    page.wait_for_selector(f"#import-status:has-text('{says}')")
    assert page.locator(".card .name").count() == 0
    if change != {"concept": "3"}:  # which Python reads as a number
        assert in_python(lambda: read_labels(file, ut.load(usae_folder))) == "refused"


def test_a_name_that_an_older_page_took_is_kept_as_a_note(folder, visit):
    page = visit(folder)
    key = page.evaluate("`usae-labels:${location.protocol}`.slice(0, 12)")
    sha = json.loads((folder / "explorer" / "data.js").read_text()[len("usaeData(") : -3])["usae"]["sha256"]
    kept = [
        ["3", {"name": "4-6", "note": "so", "favourite": False}],
        ["4", {"name": "reds", "note": "", "favourite": True}],
    ]
    page.evaluate("([key, kept]) => localStorage.setItem(key, JSON.stringify(kept))", [f"{key}{sha}", kept])
    page.reload(wait_until="commit")
    page.wait_for_selector("body[data-ready]")
    label = page.evaluate("([id, usae]) => new Labels(usae).of(id)", ["3", {"sha256": sha, "names": []}])
    assert label == {"name": "", "note": "4-6\nso", "favourite": False}


def shown(page):
    return sorted(
        int(each) for each in page.evaluate("[...document.querySelectorAll('.card')].map((c) => c.dataset.id)")
    )


def test_the_search_takes_concepts_names_and_words(page):
    page.select_option("#size", "s")
    labels = json.dumps(
        [{"concept": k, "name": name, "favourite": False, "note": "seen on fur"} for k, name in LABELS[:2]]
    )
    page.set_input_files(
        "#import", {"name": "a.json", "mimeType": "", "buffer": f'{{"schema": 1, "labels": {labels}}}'.encode()}
    )
    page.wait_for_selector("#import-status:has-text('2 labels imported.')")
    for text, concepts in {
        "4-6": [4, 5, 6],
        "1": [1],
        "3, 10-11": [3, 10, 11],
        "warm*": [7, 8],
        "warm": [7, 8],  # a name, and a word of another
        "WarmReds": [7],
        "texture:*": [5],
        "dots": [5],
        "fur": [7, 8],
        "fur warm reds": [7],
    }.items():
        page.fill("#search", text)
        becomes(page, lambda: shown(page), concepts)
    for text, says in {
        "6-4": "No concept fits this search. “6-4”: the smaller number goes first.",
        "99": "No concept fits this search. There is no concept 99: they are numbered 0 to 11.",
    }.items():
        page.fill("#search", text)
        becomes(page, lambda: page.inner_text("#no-results"), says)
