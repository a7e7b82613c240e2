"""The one place that prints. What a file, a name or an argument says is shown as it is, and acts on no terminal."""

from __future__ import annotations

import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

from usae_train.runtime.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

# What a terminal obeys instead of showing it: control characters (a newline too: it would begin a line that nobody
# wrote), signs that turn the direction of writing or have no width, line separators, and halves of characters, as
# which Python reads a file's name in no UTF-8. The two joiners of Persian and of emoji (U+200C, U+200D) are text.
CONTROL_CHARACTERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


def escape_controls(text: str) -> str:
    r"""A text with every character that a terminal would obey written as Python's escape.

    Example:
        >>> print(escape_controls("a\x1b[2Jb\nc"))
        a\x1b[2Jb\nc
    """
    return CONTROL_CHARACTERS.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def say(*lines: str, err: bool = False) -> None:
    """Print lines, each of which stays one.

    Args:
        lines: the lines; a newline inside one is written out.
        err: on stderr instead of stdout.
    """
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        print(_encodable(escape_controls(line), stream), file=stream, flush=True)


def say_error(error: BaseException | str) -> None:
    """One line on stderr, `error: ...`; the lines of a library's message become one."""
    say(f"error: {one_line(error)}", err=True)


def one_line(error: BaseException | str) -> str:
    """An error's message in one line; the name of its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """What an error of another library says, cut short; where its first line only announces, with what follows."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    announced = " ".join(line.strip() for line in lines[:2]) if lines[0].rstrip().endswith(":") else lines[0]
    return announced[:200]


def plural(count: int, noun: str) -> str:
    """A count and its noun, in the plural unless it is one.

    Example:
        >>> plural(1, "picture"), plural(0, "picture"), plural(2_000, "class")
        ('1 picture', '0 pictures', '2000 classes')
    """
    ending = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else ending}"


def did_you_mean(word: object, candidates: Iterable[str]) -> str:
    """The end of a message that names the nearest candidate; empty where none is near."""
    near = difflib.get_close_matches(str(word), candidates, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def say_json(value: Any) -> None:
    """Print JSON in ASCII; the one control character that JSON leaves as it is becomes an escape."""
    print(json_text(value, indent=1).replace("\x7f", r"\u007f"), flush=True)


def say_table(table: RenderableType) -> None:
    """Print a table of rich's; its cells, headings and titles are to be made by `as_text`."""
    from rich.console import Console

    Console().print(table)


def figure_table(headings: Iterable[str], words: Collection[str]) -> Table:
    """A table of rich's to be filled with `as_text`: columns of figures, to the right and in one line each, and words.

    Args:
        headings: of all columns, in their order.
        words: headings of those that hold words, not figures.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        figures = heading not in words
        table.add_column(as_text(heading), justify="right" if figures else "left", no_wrap=figures)
    return table


def table_as_text(table: RenderableType, width: int) -> str:
    """A table as `say_table` prints it to a file, this many characters wide: without colours, whatever shows it."""
    from rich.console import Console

    # in a notebook rich would show an empty output beside it, and its kernel asks for colours (FORCE_COLOR)
    console = Console(width=width, force_jupyter=False, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def as_text(value: str, style: str = "") -> Text:
    """A cell, heading or title for rich: no markup (`[red]` in a label stays as it is), no control characters.

    Args:
        value: what it says; a newline in it is written out.
        style: rich's.
    """
    from rich.text import Text

    return Text(escape_controls(value), style)


def _encodable(text: str, stream: TextIO) -> str:
    """A text with what a stream's encoding does not have (R² in ASCII) written out too."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
