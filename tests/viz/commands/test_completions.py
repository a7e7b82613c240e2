"""What Tab offers; `-h`, `--version` and the shipped recipes, by which a newcomer finds in."""

import json
import re

import pytest
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli
from usae_viz.runs import shipped_recipes

APPS = {"usae-train": usae_train.cli.app, "usae-viz": usae_viz.cli.app}


def run(*words, app="usae-viz"):
    return CliRunner().invoke(APPS[app], list(words))


def offered(line):
    """What bash is offered at the end of a line."""
    asked = {"_USAE_VIZ_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = CliRunner().invoke(usae_viz.cli.app, [], env=asked, prog_name="usae-viz")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("usae-viz maximize --usae ph", ["photos"]),
        ("usae-viz maximize -c str", ["stripes"]),
        ("usae-viz maximize --out= -c str", ["stripes"]),  # half a line is no error
        ("usae-viz maximize -c red,st", ["red,stripes", "red,star"]),
        ("usae-viz maximize -c top", ["top:8"]),
        ("usae-viz maximize --usae photos -c eye", ["eyes"]),
        ("usae-viz maximize --usae nowhere -c ", ["top:8"]),
        ("usae-viz render fi", ["first-look"]),
        ("usae-viz explore d", ["demo"]),
    ],
)
def test_tab_offers_names(line, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert offered(line) == words


def test_tab_offers_files_and_folders_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    (tmp_path / "middle" / "spaces").mkdir(parents=True)
    (tmp_path / "middle" / "fine.yaml").touch()
    (tmp_path / "middle" / ".hidden.yaml").touch()
    assert offered("usae-viz maximize --usae mi") == ["middle/", "mine"]
    assert offered("usae-viz render middle/") == ["middle/fine.yaml", "middle/spaces/"]


DEEP = "[" * 100_000  # of which Python's own reader makes a RecursionError


@pytest.mark.parametrize(
    "content", ["", "[]", '{"labels": [{}], "factors": [7]}', "\xff", '{"labels": [1], "factors": {"a": 1}}', DEEP]
)
def test_tab_offers_no_names_of_a_usae_that_cannot_be_read(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("config.json", "labels.json"):
        (tmp_path / "mine" / name).write_bytes(content.encode("latin-1"))
    assert offered("usae-viz maximize --usae mine -c t") == ["top:8"]


def test_tab_offers_no_name_that_a_terminal_or_a_shell_would_obey(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    names = ["tusks", "t\x1bx", "t$(x)", "t;x", "t`x`", "t'x", "té:x"]
    (tmp_path / "mine" / "labels.json").write_text(json.dumps({"labels": [{"name": name} for name in names]}))
    assert offered("usae-viz maximize --usae mine -c t") == ["tusks", "té:x", "top:8"]


@pytest.mark.parametrize("app", APPS)
def test_the_version_is_said_with_those_that_decide_what_comes_out(app):
    done = run("--version", app=app)
    assert done.exit_code == 0
    assert re.fullmatch(rf"{app} \S+ \(torch \S+, timm \S+, kornia \S+\)\n", done.stdout)


@pytest.mark.parametrize("app", APPS)
def test_every_command_has_its_help_under_h(app):
    commands = [command.name or command.callback.__name__ for command in APPS[app].registered_commands]
    assert len(commands) >= 5
    for command in commands:
        assert run(command.replace("_", "-"), "-h", app=app).exit_code == 0


def test_recipes_are_listed_with_what_they_are():
    listed = json.loads(run("recipes", "--json").stdout)
    assert [each["name"] for each in listed] == sorted(shipped_recipes.shipped_recipes())
    assert {"first-look", "atlas"} <= {each["name"] for each in listed}
    assert all(10 < len(each["about"]) < 100 for each in listed)
    for each in listed:
        assert each["about"] in run("recipes").stdout


def test_a_shipped_recipe_is_found_by_name_and_ones_own_file_goes_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_recipes.shipped_recipes()
    assert shipped_recipes.find_recipe("first-look") == str(shipped["first-look"])
    (tmp_path / "first-look").mkdir()  # as `render first-look --out first-look` makes it
    assert shipped_recipes.find_recipe("first-look") == str(shipped["first-look"])
    (tmp_path / "first-look").rmdir()
    (tmp_path / "first-look").touch()
    assert shipped_recipes.find_recipe("first-look") == "first-look"
    assert shipped_recipes.find_recipe("elsewhere.yaml") == "elsewhere.yaml"
    done = run("render", "frist-look")
    assert done.exit_code == 1
    assert re.fullmatch(r"error: no recipe 'frist-look': .* atlas, coordinated-figure, first-look, .*\n", done.stderr)


def test_the_wheels_own_folder_goes_before_the_clones(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "alone.yaml").write_text("# One alone. And more\n")
    monkeypatch.setattr(shipped_recipes, "RECIPE_FOLDERS", (tmp_path / "recipes", *shipped_recipes.RECIPE_FOLDERS))
    assert run("recipes").stdout.startswith("alone  One alone.\n")
