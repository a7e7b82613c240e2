"""The papers say what is there: rooms in the order that the layers have, a line for every benchmark."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("package", ["usae_train", "usae_viz"])
def test_the_rooms_stand_in_the_order_of_the_layers(package):
    (layers,) = (each["layers"] for each in CONTRACTS if each.get("containers") == [package])
    height = {room: at for at, layer in enumerate(layers) for room in layer.split(" | ")}
    paper = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = paper.partition(f"| `{package}` | what it is |\n")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)/?`", row.split("|")[1]) for row in table.splitlines()[1:]]
    assert {room for row in rows for room in row} == set(height) - {"__main__"}
    lowest_of_each = [max(height[room] for room in row) for row in rows]
    assert lowest_of_each == sorted(lowest_of_each)


def test_every_benchmark_has_a_line():
    folder = ROOT / "tests" / "benchmarks"
    paper = (folder / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in folder.glob("*.py") if f"`{file.name}`" not in paper] == []


def test_every_benchmark_answers_to_help():
    """Two began their work instead."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "benchmarks").glob("*.py")}
    run_alone = {name: text for name, text in texts.items() if '__name__ == "__main__"' in text}
    assert len(run_alone) > 30
    assert [name for name, text in run_alone.items() if "ArgumentParser(description=__doc__" not in text] == []
