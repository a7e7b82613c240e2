"""Every command that the README, pages, recipes and notebooks tell people to type is one, by today's options."""

import re
import shlex
from itertools import chain
from pathlib import Path

import click
import pytest
import typer

from usae_train.cli import app as train
from usae_viz.cli import app as viz

ROOT = Path(__file__).parents[1]
COMMANDS = {name: typer.main.get_command(app) for name, app in (("usae-train", train), ("usae-viz", viz))}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *chain((ROOT / "docs").rglob("*.md"), (ROOT / "recipes").glob("*.yaml"), (ROOT / "notebooks").glob("*.ipynb")),
    *(ROOT / "usae_train").rglob("README.md"),
]
LINE = re.compile(r"^[ #>$!\"-]*((?:\.venv/bin/)?usae-(?:train|viz) .*)", re.MULTILINE)
INLINE = re.compile(r"`(usae-(?:train|viz) [^`\n]+)`")


def typed_in(page: Path) -> list[list[str]]:
    """The commands of a page, as words; without what a shell takes, comments and the interpreter's own options."""
    text = page.read_text(encoding="utf-8")
    lines = [*LINE.findall(text), *INLINE.findall(text)]
    if page.suffix == ".ipynb":  # lines of JSON
        lines = [re.sub(r'(\\n)?",?$', "", each).replace('\\"', '"') for each in lines]
    bare = [re.split(r" #|&&|>|\| |  ", each.replace(".venv/bin/", ""))[0] for each in lines]
    words = [shlex.split(each.replace(" ...", "").rstrip("\\ ")) for each in bare]
    return [each for each in words if len(each) > 1 and not each[1].startswith("-")]


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_a_documented_command_is_one(page):
    for program, name, *words in typed_in(page):
        command = COMMANDS[program].commands.get(name)
        assert command is not None, f"{program} {name}"
        shown = {option for each in command.params if not getattr(each, "hidden", False) for option in each.opts}
        shown |= {option for each in command.params for option in each.secondary_opts} | {"--help", "-h"}
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= shown, f"{program} {name} has no {', '.join(options - shown)}"
        try:
            command.make_context(name, list(words), parent=click.Context(COMMANDS[program]))
        except Exception as error:
            if type(error).__name__ != "MissingParameter":  # in a sentence a command stands without its arguments
                pytest.fail(f"{program} {name} {' '.join(words)}: {error}")


def test_there_are_many():
    assert sum(len(typed_in(page)) for page in PAGES) > 120
