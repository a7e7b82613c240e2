"""The site's pages: each is in the contents, its links lead somewhere, and each command is shown on one of them."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import typer

from usae_train.cli import app as train
from usae_viz.cli import app as viz

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONTENTS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
MADE = {"commands.md", "recipe-keys.md"}  # from the code, when the site is built
TEXTS = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "usae_train").rglob("*.md")]
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)|<img src=\"([^\"]+)\"")
COMMANDS = [
    f"{name} {command}"
    for name, app in (("usae-train", train), ("usae-viz", viz))
    for command in typer.main.get_command(app).commands
]


def test_every_page_is_in_the_contents():
    pages = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")} | MADE
    pages |= {f"notebooks/{file.stem}.md" for file in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(re.findall(r"^ +- ([\w/-]+\.md)$", CONTENTS, re.MULTILINE)) == pages


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown_on_a_page_of_methods_or_guides(command):
    pages = [*(DOCS / "methods").glob("*.md"), *(DOCS / "guides").glob("*.md")]
    assert [page.name for page in pages if command in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", sorted((DOCS / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_a_methods_page_says_what_when_paper_and_picture(page):
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("What", "When", "Paper", "Picture") if f"**{word}.**" not in text] == []


@pytest.mark.parametrize("page", sorted(TEXTS), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_of_the_clone(page):
    """Seven pages linked to what is made only when the site is built."""
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    places = [link or picture for link, picture in LINK.findall(prose)]
    assert [place for place in places if "://" not in place and not (page.parent / place).exists()] == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_on_the_site_a_link_stays_on_it(page):
    links_of_the_site = _generated_pages().links_of_the_site
    made = MADE | {f"notebooks/{file.stem}.md" for file in (ROOT / "notebooks").glob("*.ipynb")}
    for link, _ in LINK.findall(links_of_the_site(page.read_text(encoding="utf-8"))):
        place = (page.parent / link).resolve()
        assert "://" in link or (
            place.is_relative_to(DOCS) and (place.exists() or str(place.relative_to(DOCS)) in made)
        )


def _generated_pages():
    pytest.importorskip("mkdocs")
    found = spec_from_file_location("generated_pages", DOCS / "generated_pages.py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module
