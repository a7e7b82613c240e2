"""What cannot be drawn is one line, of status 1 or 2, and leaves nothing behind."""

import pytest
from running_commands import QUICK, run


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """What a command says that is refused with a status: one line, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)

    def said(words, status):
        done = run(*words)
        assert done.exit_code == status
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
        return done.stderr

    return said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maximize", "-c", "12"], "no concept 12; this USAE has 12, numbered 0 to 11"),
        (["maximize", "-c", "red"], "no concept 'red': this USAE has no labels"),
        (["maximize", "-c", ","], "no concept in ','"),
        (["maximize", "-c", "top:0"], "expected top: and a number from 1 to 12"),
        (["maximize", "-c", "3", "--device", "tpu9"], "no device 'tpu9' here"),
        (["maximize", "--objective", "Concept(3, backbone='')"], "unknown backbone ''; this USAE has left, right"),
        (["concepts", "--sort", "auroc"], "this USAE's statistics have no truth to compare with"),
    ],
)
def test_wrong_input_is_one_line_and_status_1(folder, refused, words, message):
    assert message in refused([*words, "--usae", folder], 1)


def test_an_unknown_usae_names_the_nearest(refused):
    said = refused(["maximize", "-c", "3", "--usae", "dmo"], 1)
    assert "unknown USAE 'dmo'; expected `demo`, `photos`, a folder or a hub id; the nearest: demo" in said


def test_an_output_folder_that_cannot_be_written_is_said(folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("maximize", "-c", "3", "--usae", folder, "--out", str(tmp_path / "file" / "run"), *QUICK)
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
    assert (tmp_path / "file").read_text() == ""


def test_wrong_usage_is_status_2():
    assert run("maximize").exit_code == 2
    assert run("maximise").exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concepts: [3]\nmodus: [shared]\n", "recipe.yaml:2: unknown key 'modus'; did you mean 'modes'?"),
        (
            "concepts: [3]\nsettings:\n  stepz: 4\n",
            "recipe.yaml:3: unknown key 'settings.stepz'; did you mean 'steps'?",
        ),
        ("concepts: [3]\nsettings:\n  steps: many\n", "recipe.yaml:3: settings.steps: expected a whole number"),
        ("concepts: []\n", "nothing to draw; expected `concepts` or `objectives`"),
        ("- a\n- b\n", "expected a mapping (`key: value`) at the top, found a list"),
        ("", "expected a mapping (`key: value`) at the top, found nothing"),
        ("concepts: [3\n", "not valid YAML"),
        ("concepts: [3]\nsettings:\n  seed: 4\n", "seed belongs at the top, as a list under `seeds`"),
        (
            "concepts: [3]\nsettings:\n  augmentation: {rotat: 5}\n",
            "unknown key 'settings.augmentation.rotat'; did you mean 'rotate'?",
        ),
        (
            "concepts: [3]\nsettings: {size: 32}\nvariants:\n  a: {}\n  b: {augmentation: {crop: [0.02, 1]}}\n",
            "recipe.yaml: crops from 0.02 of the side are less than a pixel wide on a canvas of 32 px; raise --size",
        ),
        ("concepts: [3]\nseeds: [-1]\n", "recipe.yaml:2: seeds.0: expected at least 0"),
        ("concepts: [3]\nseeds: [1, 1]\n", "has an entry twice"),
        (
            "concepts: [3]\nvariants:\n  a: {}\n  b: {verdict: {rank: 1}}\n",
            "recipe.yaml:4: variants.b.verdict: belongs in `settings`: pictures on one sheet are judged alike",
        ),
    ],
)
def test_a_wrong_recipe_names_file_line_and_key(tmp_path, text, message):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    done = run("render", str(recipe), "--out", str(tmp_path / "run"))
    assert done.exit_code == 1
    assert message in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maximize"], "say what to draw: --concept or --objective"),
        (
            ["maximize", "-c", "3", "--closeness", "2"],
            "--closeness needs a picture to stay close to: give it with --start",
        ),
        (["maximize", "-c", "3", "--steps", "many"], "--steps"),
        (["maximize", "-c", "3", "--animation", "mp4"], "give the steps from one to the next with --snapshots"),
        (["maximize", "-c", "3", "--out", ""], "an empty word after --out; expected a value"),
        (["maximize", "-c", "3", "--out="], "an empty word after --out; expected a value"),
        (["maximize", "-c", "3", "--stepps", "2"], "no such option: --stepps"),
        (["maximize", "-c", "3", "--setle", "9"], "--setle (Possible options: --patience, --seed, --steps)"),
        (["maximizee"], "no such command 'maximizee'"),
        (["invert"], "missing argument 'picture'; see `usae-viz invert -h`"),
    ],
)
def test_usage_that_makes_no_sense_is_status_2(folder, refused, words, message):
    assert message in refused([*words, "--usae", folder], 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maximize", "--objective", "Concept(12)"], "no concept 12; this USAE has 12"),
        (["maximize", "--objective", "Channel('lef', 1)"], "unknown backbone 'lef'"),
        (["maximize", "--objective", "Channel('left', 99)", *QUICK], "no channel 99; left's tokens have 24"),
        (["maximize", "--objective", "Logit('left', 1)", *QUICK], "left has no classifier; set `classes` in its spec"),
        (["maximize", "--objective", "Closeness()", *QUICK], "compares with a picture; give one as `start`"),
        (["maximize", "-c", "3", "--start", "nowhere.png", *QUICK], "no picture 'nowhere.png': there is no such file"),
        (["maximize", "-c", "3", "--memory", "0.000001"], "and the limit is 1e-06; raise --memory"),
        (["maximize", "-c", "3", "--memory", "0.001"], "lower --views or --size, or raise --memory"),
        (
            ["maximize", "-c", "3", *QUICK[:-1], "16", "--augmentation", "maco"],
            "crops from 0.05 of the side are less than a pixel wide on a canvas of 16 px; raise --size to 20, or take",
        ),
        (["maximize", "-c", "3", "--spectrum", "1/f"], "a spectrum is for the parameterization maco, not for fourier"),
        (
            ["maximize", "-c", "3", "--decay", "2", "--parameterization", "maco"],
            "decay is for the parameterization fourier, not for maco",
        ),
        (["invert", "nowhere.png", *QUICK], "no picture 'nowhere.png': there is no such file"),
        (["maximize", "--objective", "Channel('left', 1)", "--verify", "12"], "no concept 12; this USAE has 12"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(folder, refused, words, message):
    assert message in refused([*words, "--usae", folder], 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["maximize", "-c", "3", "--mode", "both"],
            "mode = 'both': expected 'per-model', 'shared' or 'coupled'",
        ),
        (["maximize", "-c", "3", "--parameterization", "clay"], "parameterization = 'clay'"),
        (
            ["maximize", "-c", "3", "--start", "a.png", "--closeness", "nan"],
            "closeness is nan; expected",
        ),
        (
            ["maximize", "-c", "3", "--start", "a.png", "--closeness", "-1"],
            "closeness is -1.0; expected",
        ),
        (["maximize", "--objective", "Concpt(3)"], "unknown name 'Concpt'; did you mean Concept?"),
        (["maximize", "--objective", "__import__('os')"], "unknown name '__import__'"),
        (["concepts", "--sort", "beauty"], "sort = 'beauty': expected 'universality'"),
        (["maximize", "-c", "3", "--patience", "1"], "patience = 1: expected at least 2"),
        (["invert", "nowhere.png", "--decay", "5"], "decay = 5.0: expected at most 4"),
        (["invert", "", *QUICK], "an empty word after invert; expected a value"),
        (["maximize", "-c", "3", "--start", ""], "an empty word after --start; expected a value"),
        (["invert", "nowhere.png", "--seeds", "0"], "seeds = 0: expected at least 1"),
        (["maximize", "-c", "3", "--verdict", "rang=1"], "verdict.rang = '1': unknown name; did you"),
        (["maximize", "-c", "3", "--verdict", "strict"], "'strict' is not a threshold; expected e.g. rank=1,"),
    ],
)
def test_a_value_that_no_run_could_take_is_one_line_and_status_2(folder, refused, words, message):
    assert message in refused([*words, "--usae", folder], 2)
