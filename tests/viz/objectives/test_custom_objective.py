"""Objectives from a file: found before anything of it is run, and taken from the source that one can read."""

import shutil
import sys

import pytest

from usae_viz.custom_code.hashing import hash_of_code
from usae_viz.custom_code.importing import hash_before_import
from usae_viz.objectives.custom_objective import import_objective

SOURCE = "from own_room.beside import half\ndef calm(acts):\n    return half * acts.tokens.mean((1, 2, 3))\n"


@pytest.fixture
def room(tmp_path):
    """A package of two modules; the packages around a module are run when it is imported, and not when it is found."""
    (tmp_path / "own_room").mkdir()
    (tmp_path / "own_room" / "__init__.py").write_text("")
    (tmp_path / "own_room" / "beside.py").write_text("half = 0.5\n")
    (tmp_path / "own_room" / "calm.py").write_text(SOURCE)
    yield tmp_path
    for name in ("own_room", "own_room.beside", "own_room.calm", "own_room.late"):
        sys.modules.pop(name, None)


def test_a_modules_file_is_found_and_nothing_of_it_run(room):
    assert hash_before_import("own_room.calm:calm", room) == hash_of_code(
        "own_room.calm", room / "own_room" / "calm.py"
    )
    assert hash_before_import("own_room.gone:calm", room) is None
    assert hash_before_import("nowhere.at.all:calm", room) is None
    assert hash_before_import("builtins:print", room) is None
    assert not [name for name in sys.modules if name.startswith("own_room")]


def test_code_is_compiled_from_its_source_and_no_cache_is_kept(room):
    path, finders = list(sys.path), list(sys.meta_path)
    own = import_objective("own_room.calm:calm", room, allow_code=True)
    assert own.sha256 == hash_before_import("own_room.calm:calm", room) is not None
    assert not list(room.rglob("__pycache__"))
    assert (sys.path, sys.meta_path) == (path, finders)


def test_without_leave_nothing_is_run(room):
    with pytest.raises(ValueError, match="runs code from a file; look at the file, then add --allow-code"):
        import_objective("own_room.calm:calm", room, allow_code=False)
    assert "own_room" not in sys.modules


def test_code_that_was_changed_meanwhile_is_imported_anew(room):
    """In a notebook: the hash was of the changed file, and what was run of the one before."""
    first = import_objective("own_room.calm:calm", room, allow_code=True)
    again = import_objective("own_room.calm:calm", room, allow_code=True)
    assert sys.modules["own_room.beside"].half == 0.5
    (room / "own_room" / "beside.py").write_text("half = 0.25\n")
    changed = import_objective("own_room.calm:calm", room, allow_code=True)
    assert sys.modules["own_room.beside"].half == 0.25
    assert first.sha256 == again.sha256 != changed.sha256


def test_a_helper_that_was_changed_is_imported_anew_for_whoever_imports_it(room):
    """By another module, or by one that could not be imported before: the helper's old code was run."""
    (room / "own_room" / "late.py").write_text("from own_room import beside\nwanted = lambda acts: beside.half\n")
    import_objective("own_room.calm:calm", room, allow_code=True)
    (room / "own_room" / "beside.py").write_text("half = 0.25\n")
    import_objective("own_room.late:wanted", room, allow_code=True)
    assert sys.modules["own_room.late"].beside.half == 0.25
    (room / "own_room" / "beside.py").write_text("half = 0.125\nhalves\n")
    with pytest.raises(ValueError, match="halves"):
        import_objective("own_room.late:wanted", room, allow_code=True)
    (room / "own_room" / "beside.py").write_text("half = 0.125\n")
    import_objective("own_room.calm:calm", room, allow_code=True)
    assert sys.modules["own_room.calm"].half == 0.125


def test_two_folders_with_a_module_of_one_name_have_each_its_own(room, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(room / "own_room", other / "own_room")
    (other / "own_room" / "beside.py").write_text("half = 0.25\n")
    halves = []
    for folder in (room, other, room):
        import_objective("own_room.calm:calm", folder, allow_code=True)
        halves.append(sys.modules["own_room.calm"].half)
    assert halves == [0.5, 0.25, 0.5]


def test_a_file_that_is_called_as_a_module_of_pythons_is_refused_and_that_one_stays(room):
    (room / "shutil.py").write_text("def calm(acts):\n    return 0\n")
    with pytest.raises(ValueError, match=r"imported another shutil, .*; give the file another name"):
        import_objective("shutil:calm", room, allow_code=True)
    assert sys.modules["shutil"] is shutil
