"""The site's pages: each is in the contents, and each command is shown on one that says what it is for."""

import re
from pathlib import Path

import pytest
import typer

from usae_train.cli import app as train
from usae_viz.cli import app as viz

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONTENTS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
MADE = {"commands.md", "recipe-keys.md"}  # from the code, when the site is built
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
