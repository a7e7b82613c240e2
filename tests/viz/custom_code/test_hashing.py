"""The hash of an objective's code is of all files beside it that it is made of."""

import hashlib

import pytest

from usae_viz.custom_code.hashing import hash_of_code
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe


@pytest.fixture
def room(tmp_path):
    """A module with helpers of every kind, and one that it has nothing to do with."""
    texts = {
        "mine.py": "import math, usae_viz\nimport helper\nfrom parts import deep\nfrom parts.deep import thing\n",
        "helper.py": "def f():\n    import importlib\n    return importlib.import_module('late')\n",
        "late.py": "import helper, nowhere\nthis is not Python\n",
        "parts/__init__.py": "",
        "parts/deep.py": "from . import beside\nfrom .beside import x as y\nfrom .. import above\nimport bare.inner\n",
        "parts/beside.py": "x = 1\n",
        "bare/inner.py": "z = 2\n",
        "usae_viz/__init__.py": "",
        "alone.py": "import math\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hashed(room, module="mine"):
    return hash_of_code(module, room / f"{module.replace('.', '/')}.py")


HELPERS = ["helper.py", "late.py", "parts/__init__.py", "parts/deep.py", "parts/beside.py", "bare/inner.py"]


@pytest.mark.parametrize("helper", HELPERS)
def test_another_helper_is_another_code(room, helper):
    before = hashed(room)
    (room / helper).write_text((room / helper).read_text() + "\n# another\n")
    assert hashed(room) != before


@pytest.mark.parametrize("other", ["alone.py", "usae_viz/__init__.py", "new.py"])
def test_what_it_does_not_import_is_nothing_to_it(room, other):
    before = hashed(room)
    (room / other).write_text("# another\n")
    assert hashed(room) == before


def test_a_module_without_helpers_has_its_files_own_hash_as_before(room):
    assert hashed(room, "alone") == hashlib.sha256((room / "alone.py").read_bytes()).hexdigest()
    own = hashed(room, "parts.beside")
    (room / "parts" / "__init__.py").write_text("# run before it\n")
    assert hashed(room, "parts.beside") != own


def test_what_is_installed_is_not_looked_into(room):
    inside = room / "lib" / "site-packages"
    inside.mkdir(parents=True)
    for name in ("mine.py", "helper.py"):
        (inside / name).write_bytes((room / name).read_bytes())
    assert hashed(inside) == hashlib.sha256((inside / "mine.py").read_bytes()).hexdigest()


def test_a_picture_whose_objectives_helper_has_changed_is_to_be_drawn_again(usae, tmp_path):
    """A render key was of the objective's own file alone."""
    (tmp_path / "own_main.py").write_text(
        "from own_helper import weight\ndef calm(acts):\n    return weight * acts.x\n"
    )
    keys = []
    for weight in (1, 2, 1):
        (tmp_path / "own_helper.py").write_text(f"weight = {weight}\n")
        plan = plan_recipe(usae, RenderRecipe(objectives=["own_main:calm"]), tmp_path, allow_code=True)
        keys.append(plan.jobs[0].key)
    assert keys[0] == keys[2] != keys[1]
