"""Run the notebooks and keep them with what they showed: `python notebooks/execute.py [NAME...]`."""

from __future__ import annotations

import base64
import copy
import io
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent
WIDEST = 800  # pixels of a kept picture: what a page shows, and all of a notebook stays below 300 kB
TIMEOUT = 600  # seconds a cell, on a machine that does much else


def executed(notebook: NotebookNode, room: Path, quick: str | None = None) -> NotebookNode:
    """A copy of a notebook, run from its first cell to its last.

    Args:
        notebook: what to run.
        room: the folder that it runs in, where files land.
        quick: assignments that follow the cell tagged `parameters`, as `STEPS = 4`.

    Raises:
        nbclient.exceptions.CellExecutionError: when a cell raises; with the cell and the traceback.
    """
    notebook = copy.deepcopy(notebook)
    if quick is not None:
        (place,) = [at for at, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(quick))
    return NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(room)}}).execute()


def with_small_pictures(notebook: NotebookNode) -> NotebookNode:
    """The same notebook, its pictures JPEGs of at most `WIDEST`; without times, warnings and terminal colours."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = list(_kept(cell.outputs))
    notebook.metadata.pop("widgets", None)
    return notebook


def _kept(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    for kind, group in groupby(outputs, lambda output: output.get("name", "shown")):
        found = list(group)
        if kind == "stdout":  # in pieces, as they came
            yield nbformat.v4.new_output("stream", text=_plain("".join(output.text for output in found)))
        elif kind == "shown":
            for output in found:
                if "image/png" in output.get("data", {}):
                    output.data["image/jpeg"] = _small(output.data.pop("image/png"))
                if "text/plain" in output.get("data", {}):
                    output.data["text/plain"] = _plain(output.data["text/plain"])
                yield output


def _plain(text: str) -> str:
    """What a terminal was told, without progress bars (from hiding the cursor to showing it again) and colours."""
    text = re.sub(r"\x1b\[\?25l.*?\x1b\[\?25h\s*", "", text.replace("\r\n", "\n"), flags=re.DOTALL)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def _small(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png)), formats=("PNG",)) as picture:
        picture.thumbnail((WIDEST, 10 * WIDEST))
        kept = io.BytesIO()
        picture.convert("RGB").save(kept, "JPEG", quality=75, optimize=True)
    return base64.b64encode(kept.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run those that are named, or all, and write them where they are."""
    import tempfile

    for file in sorted(FOLDER.glob("*.ipynb")):
        if names and file.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as room:
            done = executed(nbformat.read(file, as_version=4), Path(room))
        nbformat.write(with_small_pictures(done), file)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
