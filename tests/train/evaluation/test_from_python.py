"""`ut.evaluate` and `ut.r2_matrix`."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import usae_train as ut
from usae_train.cli import app
from usae_train.evaluation.verdict import ceiling_lines
from usae_train.model.usae import USAE

PICTURES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small pictures of noise."""
    folder = tmp_path_factory.mktemp("measured") / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, 64, 64, 3), np.uint8)
    for number, own in enumerate(pixels):
        Image.fromarray(own).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def evaluation(edited, folder):
    return ut.evaluate(edited, folder, answers=False, quiet=True)


@pytest.fixture
def identity():
    """Two concepts, one each feature: what is positive is decoded as it is."""
    usae = USAE({"a": 2, "b": 2}, n_concepts=2, k=2)
    for name in "ab":
        usae.encoder(name).linear.weight.data = torch.eye(2)
        usae.encoder(name).linear.bias.data.zero_()
        usae.decoder(name).weight.data = torch.eye(2)
    return usae.eval()


def test_it_is_what_the_command_measures(edited, folder, tmp_path, capsys):
    usae = ut.load(ut.save(edited, tmp_path / "usae"))
    evaluation = ut.evaluate(usae, folder, answers=False, quiet=True)
    words = ["evaluate", tmp_path / "usae", folder, "--out", tmp_path / "r", "--no-fill", "--no-answers", "--json"]
    with pytest.raises(SystemExit) as done:
        app([*map(str, words), "--workers", "1", "--quiet"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["r2"] == evaluation.r2
    assert evaluation.save(tmp_path / "own") == tmp_path / "own"
    for file in ("report.json", "index.html"):
        assert (tmp_path / "own" / file).read_bytes() == (tmp_path / "r" / file).read_bytes()


def test_it_says_the_matrix_and_what_is_bad(evaluation):
    assert evaluation.lines()[0].startswith("R² around each feature's mean: on the diagonal ")
    assert evaluation.warnings
    assert all(f"warning: {line}" in str(evaluation) for line in evaluation.warnings)
    assert evaluation._repr_html_().count("<tr>") == 3
    assert repr(evaluation).startswith(f"<Evaluation on {PICTURES} pictures: R²")
    assert int(evaluation.statistics.counts[0]) == PICTURES


def test_the_usae_stays_as_it_is(edited, folder):
    before = edited.statistics
    ut.evaluate(edited, ut.open_images(folder)[:2], dtype="bfloat16", answers=False, quiet=True)
    assert {backbone.compute_dtype for backbone in edited.backbones.values()} == {torch.float32}
    assert edited.statistics is before


def test_at_the_end_it_says_what_to_do(edited, folder, capsys):
    ut.evaluate(edited, folder, limit=2, answers=False)
    heads, bad, following = capsys.readouterr().err.splitlines()
    assert heads.startswith("R² around each feature's mean: on the diagonal ")
    assert " warnings, the first: " in bad
    assert following == "all of it: .save(FOLDER), then open FOLDER/index.html; or print it"


def test_wrong_settings_are_said_in_a_line(edited):
    with pytest.raises(ValueError, match=r"batchh = 3: .*did you mean 'image_batch'"):
        ut.evaluate(edited, "demo", batchh=3)


@pytest.mark.parametrize("name", ["fill", "checkpoint_minutes", "every"])
def test_what_the_command_does_with_files_is_refused(edited, name):
    with pytest.raises(ValueError, match=f"{name} is an option of the command only, which keeps states"):
        ut.evaluate(edited, "demo", **{name: 1})


def test_a_page_of_something_else_is_not_replaced(evaluation, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match=r"index.html is another page; choose another folder"):
        evaluation.save(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "mine"


def test_r2_of_pictures_is_the_reports(edited, folder, evaluation):
    found = ut.r2_matrix(edited, folder)
    for source, row in evaluation.r2.items():
        assert found[source] == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_r2_of_tokens_by_hand(identity, form):
    a = form([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    b = form([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])  # variance 4 x (1 + 0.75); one number differs, by 2
    found = ut.r2_matrix(identity, {"a": a, "b": b})
    assert found["a"]["a"] == found["b"]["b"] == 1
    assert found["a"]["b"] == pytest.approx(1 - 4 / 7)
    assert found["b"]["a"] == pytest.approx(1 - 4 / 8)
    assert ut.r2_matrix(identity, {"b": b[None], "a": a[None]}) == found  # images x tokens, in any order


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": torch.ones(3, 2)}, "tokens of a; expected those of a, b"),
        ({"a": torch.ones(3, 2), "b": torch.ones(3, 4)}, r"b: tokens are \(3, 4\); expected \(n, 2\)"),
        ({"a": torch.ones(3, 2), "b": torch.ones(4, 2)}, "rows differ: a 3, b 4"),
        ({"a": torch.ones(3, 2), "b": np.ones((3, 2), int)}, "b: tokens of int64; expected floating-point"),
    ],
)
def test_tokens_that_do_not_pair_are_refused(identity, data, message):
    with pytest.raises(ValueError, match=message):
        ut.r2_matrix(identity, data)


def test_a_limit_of_tokens_is_refused(identity):
    with pytest.raises(ValueError, match="limit is for pictures; the data is tokens already"):
        ut.r2_matrix(identity, {name: torch.ones(3, 2) for name in "ab"}, limit=2)


@pytest.mark.parametrize(("share", "said"), [(1.46, 1), (0.9, 0), (None, 0)])
def test_a_space_above_the_linear_map_says_why(share, said):
    """ "the space reaches 146% of it" of a dense map, which nothing sparse should, stood there alone."""
    ceiling = {"r2": {"a": {"b": 0.3}}, "share": {"a": {"b": share}}, "mean": 0.3, "mean_share": share}
    found = ceiling_lines({"ceiling": ceiling, "r2": {"a": {"b": 0.4}}, "n_images": 25})
    assert sum("above 100%: the linear map was fitted on few pictures (13 pictures)" in line for line in found) == said


def test_a_share_of_nothing_is_left_out():
    nothing = {"a": {"b": -0.1}}
    ceiling = {"r2": nothing, "share": {"a": {"b": float("nan")}}, "mean": -0.1, "mean_share": float("nan")}
    found = ceiling_lines({"ceiling": ceiling, "r2": {"a": {"b": 0.5}}})
    assert found == [
        "a dense linear map from one backbone's tokens to another's: R² -0.100",
        "  a -> b: R² 0.500 of -0.100",
    ]
