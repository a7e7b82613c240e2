from dataclasses import replace

import pytest

from usae_train.files.validation import check_settings
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.score import ClassScore, Score, read_score
from usae_viz.verification.scores import Scores
from usae_viz.verification.verdict import VerdictSettings, worst

THRESHOLDS = VerdictSettings(rank=3, percentile=99, margin=2, share=0.05, probability=0.5, class_rank=5)
GOOD = Score(code=8.0, rank=1, share=0.6, percentile=99.9, noise=1.0)
DOG = ClassScore(207, "golden retriever", 0.9, 1, 207, "golden retriever", noise=0.001)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "strong", []),
        ({"percentile": None, "noise": None}, "strong", []),  # a USAE without statistics, an old file
        ({"rank": 4}, "weak", ["rank 4"]),
        ({"percentile": 98.97}, "weak", ["p98.9"]),  # not p99.0: what is too little never reads as enough
        ({"noise": 4.02}, "weak", ["1.9 times noise"]),
        ({"percentile": 96.08}, "weak", ["p96.1"]),
        ({"rank": 9, "noise": 5.0}, "weak", ["rank 9", "1.6 times noise"]),
        ({"noise": 8.0}, "failed", ["no more than in noise"]),
        ({"share": 0.049}, "failed", ["fires in 4.9% of tokens"]),
        ({"share": 0.05}, "strong", []),
    ],
)
def test_the_verdict_on_a_concept(change, verdict, words):
    assert replace(GOOD, **change).judge(THRESHOLDS) == (verdict, words)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "strong", []),
        ({"probability": 0.49}, "weak", ["probability 0.49"]),
        ({"rank": 2, "read_as": 208, "read_name": "Labrador"}, "weak", ["read as Labrador"]),
        ({"rank": 6, "read_as": 3, "read_name": None}, "failed", ["read as class 3"]),
        ({"noise": 0.6}, "weak", ["1.5 times noise"]),
        ({"noise": 0.95}, "failed", ["no more than in noise"]),
    ],
)
def test_the_verdict_on_a_class(change, verdict, words):
    assert replace(DOG, **change).judge(THRESHOLDS) == (verdict, words)


def test_a_picture_is_as_good_as_in_the_worst_backbone_that_it_was_drawn_for():
    row = {"left": GOOD, "right": replace(GOOD, rank=7), "other": replace(GOOD, share=0.0)}
    scores = Scores(3, {"shared": row, "left": row}, {"shared": ("left", "right"), "left": ("left",)}, {}, THRESHOLDS)
    assert [scores.verdict("shared"), scores.verdict("left"), scores.verdict("left", "other")] == [
        "weak",
        "strong",
        "failed",
    ]
    assert scores.in_words("shared") == "weak in right: rank 7"
    assert scores.in_words("left") == "strong"
    assert scores.failed == []
    kept = scores.as_dict()
    assert kept["images"]["shared"]["verdict"] == "weak"
    assert kept["images"]["left"]["backbones"]["other"]["verdict"] == "failed"
    assert kept["thresholds"] == THRESHOLDS.model_dump()


def test_of_equal_verdicts_the_one_with_the_least_strength_is_told():
    row = {"left": GOOD, "right": replace(GOOD, code=7.0)}
    assert Scores(3, {"shared": row}, {"shared": ("left", "right")}, {}, THRESHOLDS).weakest("shared") == "right"
    assert worst(["weak", "strong"]) == "weak"


def test_scores_are_read_back_from_what_any_version_kept():
    old = {"code": 2.0, "rank": 1, "share": 0.5, "percentile": 99.9, "others": 0.1, "noise": 0.2, "fires": True}
    assert read_score(old) == Score(2.0, 1, 0.5, 99.9, 0.1, 0.2)
    scores = Scores(None, {"left": {"left": DOG}}, {"left": ("left",)})
    assert read_score(scores.as_dict()["images"]["left"]["backbones"]["left"]) == DOG


def test_thresholds_are_said_in_words_or_as_settings():
    asked = check_settings(MaximizeSettings, verdict="rank=1, percentile=99.9")
    assert (asked.verdict.rank, asked.verdict.percentile) == (1, 99.9)
    assert check_settings(MaximizeSettings, verdict={"margin": 3}).verdict.margin == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("rank", "'rank' is not a threshold; expected e.g. rank=1"),
        ("rang=1", "verdict.rang = '1': .*did you mean 'rank'"),
        ("percentile=101", "verdict.percentile = '101': expected at most 100"),
        ("margin=0.5", "verdict.margin = '0.5': expected at least 1"),
    ],
)
def test_thresholds_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        check_settings(MaximizeSettings, verdict=wrong)


def test_a_verdict_is_asked_for_by_its_former_name_with_a_warning():
    with pytest.warns(FormerNameWarning, match="write judge"):
        assert GOOD.lacks(THRESHOLDS) == GOOD.judge(THRESHOLDS)
