"""The long description of the packages has no address that leads nowhere."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
TEXT = """![Two
fields](docs/a.jpg) and <img src="docs/b.jpg" alt="dots" width="9">, see [trust](docs/trust.md), [us](#us),
[paper](https://arxiv.org/abs/2502.03714) and ![away](https://example.org/c.png)."""


@pytest.fixture
def hook(monkeypatch):
    """The build's own module, which takes its base class from the builder; that is in no environment of tests."""
    base = ModuleType("hatchling.metadata.plugin.interface")
    base.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, base.__name__, base)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_public_address_pictures_are_words_and_links_their_text(hook):
    assert (
        hook.standing_alone(TEXT, None)
        == """*(Picture: Two
fields)* and *(Picture: dots)*, see trust, [us](#us),
[paper](https://arxiv.org/abs/2502.03714) and ![away](https://example.org/c.png)."""
    )


def test_with_one_they_lead_there(hook):
    assert (
        hook.standing_alone(TEXT, "https://example.org/us/it/")
        == """![Two
fields](https://example.org/us/it/raw/HEAD/docs/a.jpg) and \
<img src="https://example.org/us/it/raw/HEAD/docs/b.jpg" alt="dots" width="9">, see \
[trust](https://example.org/us/it/blob/HEAD/docs/trust.md), [us](#us),
[paper](https://arxiv.org/abs/2502.03714) and ![away](https://example.org/c.png)."""
    )


@pytest.mark.parametrize("source", [None, "https://example.org/us/it"])
def test_the_readme_has_no_relative_address_left(hook, source):
    own = hook.LongDescription()
    own.root, metadata = str(ROOT), {"urls": {} if source is None else {"Source": source}}
    own.update(metadata)
    text = metadata["readme"]["text"]
    addresses = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert addresses
    assert [each for each in addresses if not each.startswith(("http", "#"))] == []
    pictures = (ROOT / "README.md").read_text(encoding="utf-8").count("docs/pictures/")
    assert pictures > 3
    assert text.count("raw/HEAD/docs/pictures/") == (pictures if source else 0)
    assert text.count("(Picture: ") == (0 if source else pictures)
