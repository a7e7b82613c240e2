"""`~` in files, and numbers without an end, wherever people write them."""

from pathlib import Path

import pytest

from usae_train.files.homes import resolve_beside
from usae_train.files.json_files import read_json
from usae_train.files.whole_numbers import whole_number
from usae_train.files.yaml_config import read_mapping
from usae_train.images.shard_patterns import expand_shards
from usae_train.model.spec_files import read_specs
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.selection import select
from usae_viz.explanations.edit_recipe import read_edit_recipe
from usae_viz.rating.scoring import ANSWER_COLUMNS, MAX_BYTES, Question, StudyKey, read_answers
from usae_viz.runs.recipe import read_render_recipe

ENDLESS = "9" * 5000
NO_TRIALS = StudyKey(study="abc", trials=[], choices=4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    place = tmp_path / "home"
    (place / "usae").mkdir(parents=True)
    (place / "usae" / "config.json").write_text("{}")
    monkeypatch.setenv("HOME", str(place))
    return place


def test_a_recipes_files_may_be_at_home(home, tmp_path):
    (tmp_path / "r.yaml").write_text(
        "usae: ~/usae\nlabels: ~/labels.json\nconcepts: [1]\nsettings: {parameterization: maco, spectrum: ~/s.st}\n"
        "variants:\n  a: {spectrum: s.st}\n  b: {parameterization: fourier, spectrum: null, start: ~/a.png}\n"
        "  c: {reference: ~/b.png}\n"
    )
    recipe = read_render_recipe(tmp_path / "r.yaml")
    assert (recipe.usae, recipe.labels) == (str(home / "usae"), str(home / "labels.json"))
    assert recipe.settings.spectrum == str(home / "s.st")
    assert recipe.variants["a"].spectrum == str(tmp_path / "s.st")
    assert recipe.variants["b"].start == str(home / "a.png")
    assert recipe.variants["c"].reference == str(home / "b.png")


def test_so_may_those_of_a_recipe_of_edits(home, tmp_path):
    (home / "among").mkdir()
    (tmp_path / "e.yaml").write_text(
        "usae: ~/usae\nphotographs: [~/a.png, b.png]\namong: ~/among\nlabels: ~/l.json\n"
        "edits: {off: {in: v, set: [1=0]}}\n"
    )
    recipe = read_edit_recipe(str(tmp_path / "e.yaml"))
    assert recipe.usae == str(home / "usae")
    assert recipe.photographs == [str(home / "a.png"), str(tmp_path / "b.png")]
    assert (recipe.among, recipe.labels) == (str(home / "among"), str(home / "l.json"))


def test_a_home_that_there_is_not_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="this machine has no home directory of ~nobody-of-this-name"):
        resolve_beside("~nobody-of-this-name/a.png", tmp_path)


@pytest.mark.parametrize(
    "read",
    [
        whole_number,
        lambda text: select(None, f"{text}-{text}", []),
        lambda text: expand_shards(f"{{0..{text}}}.tar", None),
    ],
)
def test_a_number_without_an_end_is_one_line(read):
    with pytest.raises(UsageError, match=r"a number of 5000 digits, 99999999999999999999\.\.\.; expected at most 20"):
        read(ENDLESS)


@pytest.mark.parametrize("column", [2, 3])
def test_so_it_is_among_answers(column, tmp_path):
    row = ["abc", "r", "1", "1", "2.5"]
    row[column] = ENDLESS
    (tmp_path / "a.csv").write_text(f"{','.join(ANSWER_COLUMNS)}\n{','.join(row)}\n")
    with pytest.raises(UsageError, match=r"a\.csv:2: (trial|choice) '9{20}'; expected 1 to 4"):
        read_answers(
            tmp_path / "a.csv", StudyKey(study="abc", trials=[Question(condition="", answer=1)] * 4, choices=4)
        )


def test_answers_are_of_a_bounded_size(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="larger than 10 MB; expected a rater's answers"):
        read_answers(tmp_path / "a.csv", NO_TRIALS)


@pytest.mark.parametrize("begins", [b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x10\x00\x00\x00WEBP"])
@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (read_render_recipe, r"expected a recipe \(YAML\) or one of the PNGs that usae-viz writes"),
        (read_edit_recipe, "expected a YAML file of settings"),
        (read_specs, "expected a YAML file of settings"),
        (
            lambda file: read_answers(Path(file), StudyKey(study="abc", trials=[], choices=4)),
            "expected a rater's answers, a CSV file",
        ),
        (lambda file: read_json(Path(file)), ""),
    ],
)
@pytest.mark.parametrize("size", [100, 300_000])
def test_a_picture_in_the_place_of_a_text_is_called_one(tmp_path, begins, read, expected, size):
    """Before: 'utf-8' codec can't decode byte 0xff; or larger than 200 kB."""
    file = tmp_path / "photo.yaml"
    file.write_bytes(begins + b"\x00\xfe" * size)
    with pytest.raises(UsageError, match=f"is a picture(; {expected})?$"):
        read(str(file))


def test_another_file_of_bytes_is_no_text_and_a_word_like_a_pictures_beginning_is(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_bytes(b"concepts: \xff")
    with pytest.raises(UsageError, match="is not text: it is not UTF-8 at byte 10; expected a recipe"):
        read_render_recipe(str(file))
    file.write_text("BM: größe")
    assert read_mapping(file) == {"BM": "größe"}
