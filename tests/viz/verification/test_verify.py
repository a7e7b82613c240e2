import json

import pytest
import torch
from rich.console import Console

import usae_viz as uv
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_viz.verification.concepts import score_images
from usae_viz.verification.held_out import CLOSER_VIEWS, held_out_codes
from usae_viz.verification.noise import NOISE_PICTURES, NoiseLevels, ScoringConfig, shared_noise
from usae_viz.verification.score import DEFAULT_THRESHOLDS, Score
from usae_viz.verification.scores import Scores
from usae_viz.views.presets import HELD_OUT


def test_scores_are_worked_out_on_the_codes_after_topk(usae):
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = score_images(
        usae,
        3,
        {"left": canvas, "right": canvas.flip(-1)},
        {"left": ["left"], "right": ["right"]},
        ScoringConfig(seed=0),
    )
    assert set(scores.table) == {"left", "right"}
    for row in scores.table.values():
        for score in row.values():
            assert 1 <= score.rank <= usae.n_concepts
            assert 0 <= score.share <= 1
            assert score.code >= 0
            assert 0 <= score.percentile <= 100


def test_exactly_k_concepts_can_fire_everywhere(usae):
    """A token has at most k codes, so the shares of all concepts sum to at most k."""
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    shares = [
        score_images(usae, k, {"left": canvas}, {"left": ["left"]}, ScoringConfig(seed=0))["left"]["left"].share
        for k in range(usae.n_concepts)
    ]
    assert 0 < sum(shares) <= usae.k


def test_ranks_of_all_concepts_are_a_ranking(usae):
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = [
        score_images(usae, k, {"left": canvas}, {"left": ["left"]}, ScoringConfig(seed=0))["left"]["left"]
        for k in range(usae.n_concepts)
    ]
    ranked = [score.rank for score in found if score.code > 0]
    assert sorted(ranked) == list(range(1, len(ranked) + 1))


def score(share):
    return Score(code=1.0, rank=1, share=share, percentile=None)


@pytest.mark.parametrize(("own", "other", "fired"), [(0.5, 0.0, True), (DEFAULT_THRESHOLDS.share / 2, 0.9, False)])
def test_a_picture_has_failed_when_its_own_backbone_does_not_fire(own, other, fired):
    scores = Scores(3, {"left-seed-1": {"left": score(own), "right": score(other)}}, {"left-seed-1": ("left",)})
    assert scores.fired("left-seed-1") is fired
    assert ("FAILED" in str(scores)) is not fired


def test_the_mark_of_a_failed_picture_is_a_word_however_the_table_is_printed():
    """The command line prints without markup: names in it are told as they are."""
    scores = Scores(3, {"left": {"left": score(0.0), "right": score(0.9)}}, {"left": ("left",)})
    console = Console(width=120)
    for markup in (True, False):
        with console.capture() as capture:
            console.print(scores, markup=markup)
        assert "FAILED: fires in 0.0% of tokens" in capture.get()
        assert "[" not in capture.get()


def test_a_shared_picture_has_to_fire_in_all():
    assert not Scores(3, {"shared": {"left": score(0.5), "right": score(0.0)}}, {"shared": ("left", "right")}).fired(
        "shared"
    )
    assert Scores(3, {"shared": {"left": score(0.5), "right": score(0.4)}}, {"shared": ("left", "right")}).fired(
        "shared"
    )


@pytest.fixture(scope="module")
def drawn(usae):
    """Concept 0 in pictures long enough optimized."""
    return uv.maximize(usae, uv.Concept(0), steps=25, views=2, size=32, decay=1.0, dtype="float32")


def test_a_picture_drawn_for_its_concept_beats_chance(usae):
    result = uv.maximize(usae, uv.Concept(11), steps=25, views=2, size=32, decay=1.0, dtype="float32")
    for name in result.images:
        own = result.scores[name][name]
        assert own.fires
        assert own.code > 1.2 * own.others > 0  # random toys, and other ones with each version of timm
        assert own.code > 1.2 * own.noise >= 0
        assert own.percentile > 25


def test_chance_is_the_same_figure_of_other_concepts_and_of_noise(drawn, usae):
    for name, row in drawn.scores.table.items():
        for backbone, own in row.items():
            dense = held_out_codes(usae, backbone, drawn.images[name][None], seed=0).dense(12)
            largest = dense.amax(2).mean((0, 1))  # over tokens, then views
            assert own.code == pytest.approx(largest[0].item(), abs=1e-4)
            assert own.others == pytest.approx(largest[1:].mean().item(), abs=1e-4)


def test_the_level_of_noise_is_measured_once_and_is_the_mean_over_its_pictures(usae):
    asked = []

    def draw(seeds):
        asked.extend(seeds)
        return torch.stack([torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    noise = NoiseLevels(draw)
    found = [noise.code(usae, "left", concept) for concept in (0, 3, 3)]
    assert len(asked) == len(set(asked)) == NOISE_PICTURES
    seeds = asked.copy()
    codes = [held_out_codes(usae, "left", draw([seed]), seeds[0], n_views=1) for seed in seeds]
    largest = [each.dense(12)[0, 0].amax(0) for each in codes]
    by_hand = torch.stack(largest).mean(0)
    assert found == pytest.approx([by_hand[0].item(), by_hand[3].item(), by_hand[3].item()], abs=1e-5)
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(6))
    scores = score_images(usae, 3, {"left": canvas}, {"left": ["left"]}, ScoringConfig(seed=0, noise=noise))
    assert scores["left"]["left"].noise == found[1]
    assert (
        score_images(usae, 3, {"left": canvas}, {"left": ["left"]}, ScoringConfig(seed=0))["left"]["left"].noise is None
    )


def test_noise_is_kept_for_a_run_and_forgotten_when_weights_change(usae):
    def draw(seeds):
        return torch.zeros(len(seeds), 3, 32, 32)

    first = shared_noise(usae, "fourier", draw)
    assert shared_noise(usae, "fourier", draw) is first
    assert shared_noise(usae, "maco", draw) is not first
    with torch.no_grad():
        next(usae.parameters()).mul_(1)
    assert shared_noise(usae, "fourier", draw) is not first


def test_figures_from_closer_are_those_of_views_of_that_share(usae):
    canvas = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = score_images(usae, 3, {"left": canvas}, {"left": ["left"]}, ScoringConfig(seed=0))["left"]["left"].closer
    assert list(found) == ["0.7", "0.5"]
    half = HELD_OUT.model_copy(update={"crop": (0.5, 0.5)})
    by_hand = held_out_codes(usae, "left", canvas[None], 0, CLOSER_VIEWS, half).of(3).amax(-1).mean().item()
    assert found["0.5"] == pytest.approx(by_hand)


def test_chance_is_kept_in_json_and_said_in_the_table(drawn, tmp_path):
    kept = json.loads((drawn.save(tmp_path) / "concept-00000" / "scores.json").read_text())
    for name in drawn.images:
        row = kept["images"][name]["backbones"][name]
        assert row["others"] == drawn.scores[name][name].others
        assert row["noise"] == drawn.scores[name][name].noise
    assert kept["agreement"] == {}  # one seed
    assert "chance: random other concepts" in str(drawn.scores)
    assert "agreement" not in str(drawn.scores)


def test_agreement_over_seeds_is_one_for_identical_pictures(usae, drawn):
    canvas = drawn.images["left"]
    names = {f"left-seed-{seed}": canvas for seed in range(3)}
    alike = score_images(usae, 0, names, {name: ["left"] for name in names}, ScoringConfig(seed=0))
    assert alike.seed_agreement == {"left": pytest.approx(1)}
    assert "agreement over seeds (cosine of mean codes): left 1.00" in str(alike)
    with pytest.warns(FormerNameWarning, match="write seed_agreement"):
        assert alike.agreement == alike.seed_agreement


def test_agreement_is_between_the_seeds_of_one_kind_and_its_own_backbones():
    def codes(*values):
        return torch.tensor(values)

    signatures = {
        "left-seed-0": {"left": codes(1.0, 0.0), "right": codes(9.0, 0.0)},
        "left-seed-1": {"left": codes(3.0, 4.0), "right": codes(0.0, 9.0)},
        "left-seed-20": {"left": codes(0.0, 2.0), "right": codes(9.0, 9.0)},
        "shared-seed-0": {"left": codes(1.0, 0.0), "right": codes(0.0, 1.0)},
        "shared-seed-1": {"left": codes(2.0, 0.0), "right": codes(1.0, 0.0)},
        "right": {"left": codes(1.0, 0.0), "right": codes(1.0, 0.0)},
    }
    drawn_for = {name: ("left", "right") if name.startswith("shared") else (name[:5],) for name in signatures}
    drawn_for["left-seed-0"] = drawn_for["left-seed-1"] = drawn_for["left-seed-20"] = ("left",)
    found = Scores(3, {}, drawn_for, signatures).seed_agreement
    assert found == {"left": pytest.approx((0.6 + 0 + 0.8) / 3), "shared": pytest.approx((1 + 0) / 2)}


def test_agreement_of_drawn_seeds_is_a_cosine(usae):
    result = uv.maximize(usae, uv.Concept(3), seeds=2, steps=2, views=2, size=32)
    for figure in result.scores.seed_agreement.values():
        assert -1 <= figure < 0.9999
