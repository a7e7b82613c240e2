"""What is public: `__all__`, README, pages and notebooks name the same things, and nothing else is there."""

import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import usae_train
import usae_viz
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.explanations.concept_maps import ConceptMaps

ROOT = Path(__file__).parents[1]
PACKAGES = {"ut": usae_train, "uv": usae_viz}
NAMED = re.compile(r"\b(ut|uv)\.([A-Za-z_]\w*)")
IMPORTED = re.compile(r"from (usae_train|usae_viz) import \(?([\w, ]+)")


def texts():
    """What users read: {where: its text}."""
    pages = {file: file.read_text(encoding="utf-8") for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]}
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        pages[file] = "\n".join("".join(cell["source"]) for cell in cells)
    for package in PACKAGES.values():
        pages |= {file: file.read_text(encoding="utf-8") for file in Path(package.__file__).parent.rglob("*.py")}
    return pages


def named_in(text):
    """Every (package, name) that a text takes from a package's top."""
    names_used = {(PACKAGES[short], name) for short, name in NAMED.findall(text)}
    for package, names in IMPORTED.findall(text):
        names_used |= {(importlib.import_module(package), name.split(" as ")[0].strip()) for name in names.split(",")}
    return names_used


def test_what_is_named_is_public():
    unknown = {
        (str(file.relative_to(ROOT)), name)
        for file, text in texts().items()
        for package, name in named_in(text)
        if name not in package.__all__
    }
    assert unknown == {(str(Path("usae_train") / "__init__.py"), "Recipe")}  # which says how it is called now


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_all_that_is_public_is_on_the_site_with_a_docstring(package):
    assert re.search(f"^NAMES OF {package.__name__}$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    given = {name: getattr(package, name) for name in package.__all__}
    assert [name for name, own in given.items() if name != "PAPER" and not (inspect.getdoc(own) or "").strip()] == []


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_nothing_else_is_at_the_top(package):
    there = {name for name, own in vars(package).items() if name[0] != "_" and not isinstance(own, ModuleType)}
    assert there == set()  # what is public is imported when it is asked for
    rooms = {name for name, own in vars(package).items() if name[0] != "_"}
    assert all((Path(package.__file__).parent / room).is_dir() or room in ALONE for room in rooms)
    assert [name for name in dir(package) if name[0] != "_"] == sorted(package.__all__)
    assert sorted(set(package.__all__)) == sorted(package.__all__)


ALONE = {"cli", "command_app", "settings"}  # modules that are in no room


def test_a_name_that_is_none_is_found():
    assert named_in("x = ut.fitt(uv.maximise)\nfrom usae_viz import draw, render") == {
        (usae_train, "fitt"),
        (usae_viz, "maximise"),
        (usae_viz, "draw"),
        (usae_viz, "render"),
    }


FORMER = {
    "known_name": ("check_backbone", lambda: usae_train.USAE({"a": 3}, n_concepts=4, k=1)),
    "also": ("read_as", lambda: usae_train.ModuleBackbone(nn.Conv2d(3, 4, 4, 4), "", input_size=8)),
    "called": ("with_name", lambda: usae_train.ModuleBackbone(nn.Conv2d(3, 4, 4, 4), "", input_size=8)),
    "together": ("forward_together", lambda: usae_train.ModuleBackbone(nn.Conv2d(3, 4, 4, 4), "", input_size=8)),
    "own_parts": ("custom_parts", usae_viz.MaximizeSettings),
    "check_own": ("check_custom", usae_viz.MaximizeSettings),
    "seen": ("activity", lambda: ConceptMaps(torch.zeros(4, 2, 2))),
}


@pytest.mark.parametrize("former", FORMER)
def test_what_is_public_has_its_former_name_too(former):
    today, made = FORMER[former]
    one = made()
    with pytest.warns(FormerNameWarning, match=f"^{former} is called {today} now; write {today}$"):
        assert getattr(one, former) == getattr(one, today)
