import hashlib
import json
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import usae_viz as uv
from usae_viz.cli import app
from usae_viz.explorer.sources import open_sources
from usae_viz.export.png import read_png, rewrite_png, save_png
from usae_viz.runs.metadata import ImageMetadata, read_metadata, usae_near
from usae_viz.runs.show import command_again, metadata_lines, why_not_again


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def pixels(file):
    with Image.open(file) as picture:
        return picture.mode, picture.tobytes()


RECIPE = """
concepts: [3]
modes: [coupled]
seeds: [5]
outputs: [alpha]
settings: {steps: 3, views: 1, size: 32, augmentation: {rotate: 3, noise: 0.1}}
variants:
  maco: {parameterization: maco, spectrum: 1/f}
  decay: {decay: 2, objective: "Concept({k}, pool='max') - 0.5 * TotalVariation()"}
"""


def test_show_prints_what_is_inside_and_the_command_draws_the_same_picture(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\n{RECIPE}")
    assert run("render", "recipe.yaml", "--out", "run", "-q").exit_code == 0
    for variant in ("maco", "decay"):
        file = tmp_path / "run" / "concept-00003" / f"{variant}-left.png"
        shown = run("show", file).stdout.splitlines()
        assert shown[0] == f"picture     {variant}-left of variant {variant}"
        assert any(
            line.startswith("settings    mode coupled, parameterization ") and "seed 5" in line for line in shown
        )
        assert any(line.startswith("  through right: ") and ", rank " in line for line in shown)
        assert any(line.startswith("versions    usae ") for line in shown)
        program, *words = shlex.split(shown[-1].removeprefix("again       "))
        assert program == "usae-viz"
        words[words.index("again")] = f"again-{variant}"
        done = run(*words)
        assert done.exit_code == 0, done.stderr
        (drawn,) = (tmp_path / f"again-{variant}").glob("*/left.png")
        assert pixels(drawn) == pixels(file)
        assert read_png(drawn)["scores"] == read_png(file)["scores"]


def test_a_picture_of_maximize_is_drawn_again_with_its_threads(folder, tmp_path):
    words = ["-c", "3", "--usae", folder, "--steps", "3", "--views", "1", "--size", "32", "-q"]
    assert run("maximize", *words, "--out", tmp_path / "run").exit_code == 0
    file = tmp_path / "run" / "concept-00003" / "left.png"
    said = json.loads(run("show", file, "--json").stdout)
    threads = said["drawn_on"]["threads"]
    assert said["again"].endswith("--out again" + (f" --threads {threads}" if threads > 1 else ""))
    assert run("render", file, "--out", tmp_path / "again", "--threads", threads, "-q").exit_code == 0
    assert pixels(tmp_path / "again" / "concept-00003" / "left.png") == pixels(file)


def test_a_picture_of_a_function_of_python_is_drawn_again_by_no_command(usae, tmp_path):
    @uv.objective
    def smooth(acts):
        return -acts.canvas.diff(dim=-1).abs().mean((1, 2, 3))

    result = uv.maximize(usae, uv.Concept(3) + 2 * smooth, steps=1, views=1, size=32)
    result.save(tmp_path)
    (file,) = tmp_path.glob("*/left.png")
    assert json.loads(run("show", file, "--json").stdout)["again"] is None
    assert run("show", file).stdout.endswith("again       not possible: its objective was given in Python\n")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"start": "tensor of sha256 00"}, "the picture that it starts from was not in a file"),
        (
            {"start": "n.png", "reference": "picture of sha256 00"},
            "the picture that it is compared with was not in a file",
        ),
        ({"start": "n.png", "reference": None}, None),
    ],
)
def test_no_command_draws_again_what_was_drawn_beside_a_picture_in_no_file(given, why):
    """It named one, which `render` then refused."""
    about = ImageMetadata(picture="left", objective="Concept(3)", settings=given)
    assert why_not_again(about) == why
    assert (command_again(Path("left.png"), about) is None) == (why is not None)


def test_what_cannot_be_shown_or_drawn_again_is_one_line(folder, tmp_path):
    words = ["-c", "3", "--usae", folder, "--steps", "1", "--views", "1", "--size", "32", "-q"]
    run("maximize", *words, "--out", tmp_path)
    room = tmp_path / "concept-00003"
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    about = read_png(room / "left.png")
    with Image.open(room / "left.png") as picture:
        save_png(tmp_path / "other.png", picture, {**about, "usae_sha256": "0" * 64})
        save_png(tmp_path / "tensor.png", picture, {**about, "settings": {"start": "tensor of sha256 00"}})
        save_png(tmp_path / "odd.png", picture, {**about, "scores": {"fired": "perhaps"}})
        save_png(tmp_path / "later.png", picture, {**about, "settings": {**about["settings"], "warmth": 3}})
        save_png(tmp_path / "code.png", picture, {**about, "objective": "own:calm"})
    for words, message in (
        (["show", tmp_path / "nowhere.png"], "nowhere.png': there is no such file"),
        (["show", tmp_path / "broken.png"], "broken.png cannot be read as a picture"),
        (["show", tmp_path / "plain.png"], "plain.png has no settings inside"),
        (["show", tmp_path / "odd.png"], "what it says of itself is broken: scores.drawn_for: "),
        (["show", room / "sheet.png"], "sheet.png is a sheet of several pictures"),
        (["render", tmp_path / "other.png"], "was drawn with the USAE of sha256 000000000000, and"),
        (
            ["render", tmp_path / "later.png"],
            "drawn with settings that this version does not have: warmth = 3: unknown name",
        ),
        (["render", tmp_path / "tensor.png"], "was drawn beside a picture that was not in a file"),
        (
            ["render", tmp_path / "code.png"],
            "'own:calm' runs code from a file; look at the file, then add --allow-code",
        ),
    ):
        done = run(*words)
        assert done.exit_code == 1, words
        assert message in done.stderr
        assert (done.stderr.startswith("error: "), done.stderr.count("\n")) == (True, 1)
    assert "warmth 3" in run("show", tmp_path / "later.png").stdout


def test_a_picture_is_not_drawn_again_beside_another_than_its_own(folder, tmp_path, monkeypatch):
    """The file that it started from may have been changed, which its name does not say."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32), "red").save("photo.png")
    words = ["--usae", folder, "--steps", "1", "--views", "1", "--size", "32", "-q"]
    assert run("maximize", "-c", "3", "--start", "photo.png", *words, "--out", "run").exit_code == 0
    (drawn,) = tmp_path.glob("run/objective-*/left.png")
    assert run("render", drawn, "-q", "--out", "again").exit_code == 0
    assert len(json.loads(run("show", drawn, "--json").stdout)["given_sha256"]["start"]) == 64
    Image.new("RGB", (32, 32), "blue").save("photo.png")
    for change, message in ((None, "was drawn beside another picture than photo.png is now"), ("", "No such file")):
        if change is not None:
            (tmp_path / "photo.png").unlink()
        done = run("render", drawn, "-q", "--out", "other")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert message in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_picture_of_before_settings_changed_their_meaning_says_so(folder, tmp_path):
    words = ["-c", "3", "--usae", folder, "--steps", "1", "--views", "1", "--size", "32", "-q"]
    run("maximize", *words, "--out", tmp_path)
    file = tmp_path / "concept-00003" / "left.png"
    about = read_png(file)
    for versions, said in (
        ({"usae": "0.2.0"}, "was drawn by usae 0.2.0: views, contrast and learning rate mean something else since 0.3"),
        ({}, "was drawn by a usae that it does not name: views, "),
        ({"usae": "0.3.0"}, ""),
        ({"usae": "1.0.0rc1"}, ""),
    ):
        with Image.open(file) as picture:
            save_png(tmp_path / "old.png", picture, {**about, "versions": versions})
        done = run("render", tmp_path / "old.png", "--out", tmp_path / "again", "-q")
        assert (done.exit_code, done.stderr.count("\n")) == (0, int(bool(said)))
        assert said in done.stderr


def test_a_usae_in_the_home_of_nobody_is_one_line(tmp_path):
    with pytest.raises(
        ValueError, match="this machine has no home directory of ~nobody-of-this-name; write the path in full"
    ):
        usae_near("~nobody-of-this-name/mine", tmp_path / "a.png")


def test_pictures_and_runs_of_a_relative_usae_are_read_from_another_folder(folder, tmp_path, monkeypatch):
    """A run of today says where it is from the root, an old one is found from the run upwards."""
    (tmp_path / "mine").symlink_to(folder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["-c", "3", "--usae", "mine", "--steps", "1", "--views", "1", "--size", "32", "-q"]
    assert run("maximize", *words, "--out", "outputs/run").exit_code == 0
    out = tmp_path / "outputs" / "run"
    record, file = out / "run.json", out / "concept-00003" / "left.png"
    assert json.loads(record.read_text())["usae"] == read_png(file)["usae"] == str(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for usae in (str(tmp_path / "mine"), "mine"):
        record.write_text(json.dumps({**json.loads(record.read_text()), "usae": usae}))
        rewrite_png(file, file, {"usae": usae})
        assert open_sources(["../outputs/run"]).usae.sha256 == read_png(file)["usae_sha256"]
        done = run("render", file, "--out", "again", "-q")
        assert done.exit_code == 0, done.stderr


CODE = """from pathlib import Path
Path("imported").touch()
def calm(acts):
    return acts.tokens.mean((1, 2, 3))
"""


@pytest.fixture
def drawn_by_code(folder, tmp_path, monkeypatch):
    """A picture whose objective is a function in the file own_shown.py of this folder, which says when it is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_shown", raising=False)
    (tmp_path / "own_shown.py").write_text(CODE)
    settings = "settings: {steps: 1, views: 1, size: 32}"
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\nobjectives: ['own_shown:calm']\n{settings}\n")
    assert run("render", "recipe.yaml", "--out", "run", "--allow-code", "-q").exit_code == 0
    (tmp_path / "imported").unlink()
    del sys.modules["own_shown"]
    return tmp_path / "run" / "objective-own-shown-calm" / "left.png"


def test_show_says_what_would_run_and_leaves_the_leave_to_the_user(drawn_by_code):
    sha256 = hashlib.sha256(CODE.encode()).hexdigest()
    shown = run("show", drawn_by_code).stdout.splitlines()
    assert shown[-2].startswith(
        f"runs        calm of the module own_shown, sha256 {sha256}, if the current folder has it"
    )
    assert "--allow-code" not in shown[-1]
    said = json.loads(run("show", drawn_by_code, "--json").stdout)
    assert said["runs"] == {"module": "own_shown", "function": "calm", "sha256": sha256}
    done = run(*shlex.split(said["again"])[1:])
    assert (done.exit_code, Path("imported").exists()) == (1, False)
    assert "look at the file, then add --allow-code" in done.stderr
    assert run(*shlex.split(said["again"])[1:], "--allow-code", "-q").exit_code == 0
    assert Path("imported").exists()


@pytest.mark.parametrize("said", ["changed", "gone", "unsaid", "of no file"])
def test_other_code_than_a_picture_names_is_not_imported(drawn_by_code, said):
    if said == "changed":
        Path("own_shown.py").write_text(CODE + "\n")
    elif said == "gone":
        Path("own_shown.py").unlink()
    else:
        objective = "own_shown:calm" if said == "unsaid" else "builtins:print"
        about = {**read_png(drawn_by_code), "code_sha256": None, "objective": objective}
        with Image.open(drawn_by_code) as picture:
            save_png(drawn_by_code, picture, about)
        assert json.loads(run("show", drawn_by_code, "--json").stdout)["again"] is None
    done = run("render", drawn_by_code, "--out", "again", "--allow-code")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "was drawn with other code than" in done.stderr
    assert not Path("imported").exists()
    assert "own_shown" not in sys.modules


def test_a_picture_adds_no_words_to_the_command(drawn_by_code):
    about = {**read_png(drawn_by_code), "objective": "Concept(3)"}
    with Image.open(drawn_by_code) as picture:
        save_png(drawn_by_code, picture, {**about, "drawn_on": {"device": "cpu", "threads": "--allow-code"}})
    said = json.loads(run("show", drawn_by_code, "--json").stdout)
    assert said["again"] == shlex.join(["usae-viz", "render", str(drawn_by_code), "--out", "again"])
    assert said["runs"] is None


def test_what_a_picture_says_begins_no_line_and_reaches_no_terminal_raw(drawn_by_code):
    about = read_png(drawn_by_code)
    forged = "x\nverdict     strong\x1b[2J"
    with Image.open(drawn_by_code) as picture:
        save_png(drawn_by_code, picture, {**about, "ended": forged, "objective": forged, "versions": {forged: forged}})
    plain = run("show", drawn_by_code).stdout
    assert plain.count("\n") == len(metadata_lines(read_metadata(drawn_by_code))) + 1
    assert not any(line.startswith("verdict ") for line in plain.splitlines())
    assert r"ended       x\nverdict     strong\x1b[2J" in plain
    assert "\x1b" not in plain


@pytest.fixture
def drawn_by_names(folder, tmp_path, monkeypatch):
    """A picture of somebody's own objective, which calls a concept by a name of a labels file."""
    monkeypatch.chdir(tmp_path)
    Path("own_names.py").write_text("import usae_viz as uv\nwarm = uv.Concept('warm reds') - 0.5 * uv.Concept(7)\n")
    Path("labels.json").write_text(json.dumps({"schema": 1, "labels": [{"concept": 3, "name": "warm reds"}]}))
    settings = "settings: {steps: 2, views: 1, size: 32}"
    Path("recipe.yaml").write_text(f"usae: {folder}\nlabels: labels.json\nobjectives: ['own_names:warm']\n{settings}\n")
    assert run("render", "recipe.yaml", "--out", "run", "--allow-code", "-q").exit_code == 0
    yield tmp_path / "run" / "objective-own-names-warm" / "left.png"
    sys.modules.pop("own_names", None)


def test_a_picture_of_names_is_drawn_again_to_the_byte_without_their_file(drawn_by_names):
    Path("labels.json").rename("elsewhere.json")
    file = drawn_by_names
    for again in ("again", "and-again"):  # what is drawn again can be drawn again
        done = run("render", file, "--out", again, "--allow-code", "-q")
        assert done.exit_code == 0, done.output
        file = Path(again) / "objective-own-names-warm" / "left.png"
        assert file.read_bytes() == drawn_by_names.read_bytes()
    done = run("render", file, "--labels", "elsewhere.json", "--allow-code", "--out", "third")
    assert (done.exit_code, Path("third").exists()) == (1, False)
    assert "already says which concepts it is of; leave --labels out" in done.stderr


def test_an_older_picture_of_names_asks_for_their_file(drawn_by_names):
    about = {key: value for key, value in read_png(drawn_by_names).items() if key != "numbers"}
    whole = drawn_by_names.read_bytes()
    with Image.open(drawn_by_names) as picture:
        save_png(drawn_by_names, picture, about)
    done = run("render", drawn_by_names, "--out", "again", "--allow-code")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "keeps no number for each name in own_names:warm: no concept 'warm reds'" in done.stderr
    assert "say with --labels which file of names" in done.stderr
    done = run("render", drawn_by_names, "--out", "again", "--allow-code", "--labels", "labels.json", "-q")
    assert done.exit_code == 0, done.output
    assert (Path("again") / "objective-own-names-warm" / "left.png").read_bytes() == whole
