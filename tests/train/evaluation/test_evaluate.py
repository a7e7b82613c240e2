"""Metrics by hand on toys, and the report of a small USAE."""

import copy
import json
import math

import pytest
import torch
from matrices import r2_matrix
from report_shape import assert_of_its_form
from typer.testing import CliRunner

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.cli import app
from usae_train.evaluation.evaluate import Comparison, concept_figures, evaluate_source
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import Reconstruction, correlation, duplicates, matched_cosine, r2_summary
from usae_train.evaluation.report import write_report
from usae_train.evaluation.verdict import warnings
from usae_train.images.sources import open_images
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.json_text import without_nan

OPTIONS = {"patch_size": 24, "embed_dim": 16, "depth": 1, "num_heads": 2}


def reconstruction_of(*pieces: tuple[torch.Tensor, torch.Tensor]) -> Reconstruction:
    found = Reconstruction(["a"], ["a"])
    for tokens, decoded in pieces:
        found.add_tokens("a", tokens)
        found.add_decoded("a", "a", tokens, decoded)
    return found


TOKENS = torch.tensor([[0.0, 10.0], [2.0, 10.0], [4.0, 16.0]])  # about the features' means: 8 and 24; about 7: 182
DECODED = TOKENS + torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -2.0]])  # squared error 6, absolute 4


def test_r2_and_errors_by_hand_in_pieces_and_merged():
    whole = reconstruction_of((TOKENS, DECODED))
    pieces = reconstruction_of((TOKENS[:2], DECODED[:2]), (TOKENS[2:], DECODED[2:]))
    merged = reconstruction_of((TOKENS[:1], DECODED[:1]))
    merged.merge(reconstruction_of((TOKENS[1:], DECODED[1:])).state_dict())
    for found in (whole, pieces, merged):
        assert found.r2["a"]["a"] == pytest.approx(1 - 6 / 32)
        assert found.r2_scalar["a"]["a"] == pytest.approx(1 - 6 / 182)
        assert found.mean_error("squared")["a"]["a"] == pytest.approx(1)
        assert found.mean_error("absolute")["a"]["a"] == pytest.approx(4 / 6)


def test_the_mean_token_has_r2_zero_and_itself_one():
    tokens = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) + 3
    assert reconstruction_of((tokens, tokens)).r2["a"]["a"] == 1
    mean = tokens.mean(0).expand_as(tokens)
    assert reconstruction_of((tokens, mean)).r2["a"]["a"] == pytest.approx(0, abs=1e-6)
    assert reconstruction_of((tokens, tokens.mean().expand_as(tokens))).r2["a"]["a"] < 0


def test_correlation_by_hand():
    assert correlation(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 0, -1])) == pytest.approx(-1)
    assert correlation(torch.tensor([1.0, 2, 1, 2]), torch.tensor([1.0, 1, 2, 2])) == pytest.approx(0)


def test_duplicates_are_alike_in_every_backbone():
    one = torch.eye(4)[[0, 0, 1, 1]]
    other = torch.eye(4)[[0, 0, 2, 3]]
    assert duplicates([one, other]) == [(0, 1)]
    assert duplicates([one, other], chunk=1) == [(0, 1)]
    assert duplicates([one]) == [(0, 1), (2, 3)]
    assert duplicates([torch.eye(3)[[1, 0, 1, 1, 0]]], chunk=2) == [(0, 2), (0, 3), (1, 4)]
    assert len(duplicates([torch.full((500, 4), 0.5)], chunk=64)) == 499


def test_matched_cosine_finds_the_best_pairing():
    one, other = torch.eye(3), torch.eye(3)[[2, 0, 1]]
    assert matched_cosine([one, one], [other, other]) == pytest.approx(1)
    assert matched_cosine([one, one], [other, -other]) == pytest.approx(0)


def test_the_summary_of_a_matrix():
    matrix = {"a": {"a": 0.9, "b": 0.5}, "b": {"a": 0.3, "b": 0.7}}
    assert r2_summary(matrix) == {"diagonal": 0.8, "off_diagonal": 0.4, "ratio": 0.5}
    assert r2_summary({"a": {"a": 0.9}}) == {"diagonal": 0.9, "off_diagonal": None, "ratio": None}


def test_worse_than_the_mean_token_off_the_diagonal_and_on_it_is_no_share_of_anything():
    matrix = {"a": {"a": -0.5, "b": -0.4}, "b": {"a": -0.4, "b": -0.5}}
    assert r2_summary(matrix) == {"diagonal": -0.5, "off_diagonal": -0.4, "ratio": None}


def test_tokens_that_are_all_the_same_have_no_r2():
    tokens = torch.full((1000, 3), 0.1)
    found = reconstruction_of((tokens, tokens + 1))
    assert math.isnan(found.r2["a"]["a"])
    assert found.mean_error("squared")["a"]["a"] == pytest.approx(1)


@pytest.fixture(scope="module")
def usae(tmp_path_factory):
    specs = {
        name: BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=96, options=OPTIONS, seed=seed)
        for seed, name in enumerate(("left", "right"))
    }
    made = ut.fit("demo:train", backbones=specs, n_concepts=24, k=6, steps=60, batch=256, limit=40)
    ut.save(made, tmp_path_factory.mktemp("usae") / "usae")
    return made


def test_a_report_has_what_it_should(usae):
    report, statistics = evaluate_source(usae, open_images("demo:test", 20))
    assert_of_its_form(report)
    assert set(report["r2"]) == {"left", "right"}
    assert report["r2"]["left"]["left"] > report["r2"]["left"]["right"]
    assert report["r2_summary"]["diagonal"] > 0
    assert sum(report["entropy"]["histogram"]) == 24 - report["dead_everywhere"]
    assert all(report["dead_everywhere"] <= count <= 24 for count in report["dead"].values())
    assert report["dead"] == dict(zip(("left", "right"), (statistics.fires == 0).sum(1).tolist(), strict=True))
    assert set(report["ceiling"]["r2"]) == {"left", "right"}
    share = report["r2"]["left"]["right"] / report["ceiling"]["r2"]["left"]["right"]
    assert report["ceiling"]["share"]["left"]["right"] == pytest.approx(share)
    assert set(report["truth"]["recovered"]) == {"colour", "texture", "shape"}
    assert all(0 <= share <= 1 for row in report["truth"]["flips"].values() for share in row.values())
    assert len(report["truth"]["values"]) == 9 + 6 + 6
    assert set(report["truth"]["shifts"]["as they are"]) == {
        "r2_off_diagonal",
        "firing_entropy",
        "auroc_colour",
        "auroc_texture",
        "auroc_shape",
    }
    assert statistics.counts.tolist() == [20, 20 * 16]
    assert any("20 pictures" in line for line in report["warnings"])
    json.dumps(without_nan(report), allow_nan=False)


def test_flips_follow_a_concept_that_is_the_factor_and_no_other():
    """A world in which concept v is patch colour v, exactly: every colour flip is followed."""
    from usae_train.evaluation.ground_truth.flips import SCENE_BATCH_SIZE, factors_to_flip, flips_of
    from usae_train.scenes.factors import COLOURS

    class Oracle:
        names, grid, n_concepts = ["eye"], (8, 8), len(COLOURS)

        def tokens(self, _, images):
            palette = torch.tensor(list(COLOURS.values()))
            patches = torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(2).mT
            return torch.cdist(patches, palette)

        def encode(self, _, tokens):
            assert len(tokens) <= SCENE_BATCH_SIZE, "of all scenes at once: scenes x patches x concepts numbers"
            return Codes(torch.ones(*tokens.shape[:-1], 1), tokens.argmin(-1, keepdim=True))

    straight = {f"colour: {value}": row for row, value in enumerate(COLOURS)}
    assert factors_to_flip(straight) == ["colour"]
    assert flips_of(Oracle(), "colour", straight, pairs=60)["eye"] > 0.7
    turned = {f"colour: {value}": (row + 1) % len(COLOURS) for row, value in enumerate(COLOURS)}
    assert flips_of(Oracle(), "colour", turned, pairs=60)["eye"] < 0.3


def test_a_noise_backbone_is_visible_at_a_glance():
    generator = torch.Generator().manual_seed(0)
    causes = torch.randn(4000, 5, generator=generator)
    tokens = {name: causes @ torch.randn(5, 12, generator=generator) for name in ("first", "second")}
    tokens["noise"] = torch.randn(4000, 12, generator=generator)
    usae = ut.fit(tokens, n_concepts=16, k=3, steps=300, batch=128)
    matrix = r2_matrix(usae, tokens)
    report = {
        "backbones": list(tokens),
        "r2": matrix,
        "r2_summary": r2_summary(matrix),
        "n_concepts": 16,
        "dead": {"first": 0, "second": 0, "noise": 4},
        "dense": [],
        "n_images": 5000,
        "duplicates": [],
        "entropy": {"peak": None},
        "quantiles_missing": [],
    }
    assert any(line.startswith("noise shares hardly anything: R² from and to") for line in warnings(report))
    assert not any(line.startswith(("first", "second")) for line in warnings(report))
    used = "noise uses 75% of the concepts: the other 4 never fire through it on these pictures."
    assert used in warnings(report)


def test_the_command_writes_a_page_that_stands_alone(usae, tmp_path):
    ut.save(usae, tmp_path / "usae")
    words = ["evaluate", str(tmp_path / "usae"), "demo:test", "--limit", "12", "--out", str(tmp_path / "report")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert "R² around each feature's mean: on the diagonal" in done.stdout
    assert "\n  left -> right: R² " in done.stdout
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("fill: currentColor") > 20  # words in plots are in the page's colour, light or dark
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert "src=" not in page
    assert "<link" not in page
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert f"{report['r2_summary']['diagonal']:.3f}" in page


def test_one_backbone_says_that_two_are_needed():
    spec = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=96, options=OPTIONS)
    usae = ut.fit("demo:train", backbones={"only": spec}, n_concepts=12, k=3, steps=10, batch=64, limit=8)
    report, _ = evaluate_source(usae, open_images("demo:test", 6))
    assert report["r2_summary"]["ratio"] is None
    assert report["entropy"]["mean"] is None
    assert "One backbone: cross-model figures need two." in report["warnings"]
    assert math.isfinite(report["r2"]["only"]["only"])


class Pictures:
    """Pictures that are all alike, those of some numbers broken."""

    name = "pictures"

    def __init__(self, count: int, shade: float = 0.5, broken: tuple[int, ...] = ()) -> None:
        self.count, self.shade, self.broken = count, shade, broken

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, size: int) -> torch.Tensor:
        if index in self.broken:
            raise ValueError(f"{index} is broken")
        return torch.full((3, size, size), self.shade)

    def fingerprint(self) -> str:
        return f"{self.count}"


def test_tokens_that_are_not_finite_stop_the_evaluation_at_once(usae):
    with pytest.raises(ValueError, match="left, right: some tokens of the pictures 0 to 2 are NaN or infinite; check"):
        evaluate_source(usae, Pictures(3, shade=math.nan))


def test_a_backbone_that_sees_the_same_everywhere_is_named_and_drawn(usae, tmp_path, monkeypatch):
    seen = usae.backbones["left"]
    monkeypatch.setattr(seen, "forward", lambda canvas, grid: torch.full((len(canvas), 16, seen.width), 0.1))
    report, _ = evaluate_source(usae, open_images("demo:test", 4))
    assert "left sees the same in every patch of these pictures: there is nothing to explain." in report["warnings"]
    assert not any(line.startswith("right explains") for line in report["warnings"])
    write_report(report, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "nan" not in page
    assert '<p class="how">Above 100%: ' not in page
    report["ceiling"]["mean_share"] = 1.46
    write_report(report, tmp_path)
    assert '<p class="how">Above 100%: the linear map was fitted on few pictures (2 pictures)' in (
        (tmp_path / "index.html").read_text()
    )
    assert report["ceiling"]["r2"]["left"]["right"] < 0.1  # a constant tells nothing
    assert math.isnan(report["ceiling"]["r2"]["right"]["left"])
    assert json.loads((tmp_path / "report.json").read_text())["r2"]["right"]["left"] is None


def test_where_nothing_fires_there_is_no_peak(usae):
    measures = Measures(usae)
    names = dict.fromkeys(usae.names, Codes(torch.zeros(2, 3, 6), torch.arange(6).expand(2, 3, 6)))
    measures.firing.add(torch.arange(2), names)
    figures = concept_figures(usae, measures.firing.statistics())
    assert figures["dead"] == {"left": 24, "right": 24}
    assert figures["dead_everywhere"] == 24
    assert figures["entropy"]["peak"] is None


def test_the_histogram_counts_entropies_that_rounding_lifts_above_one():
    names = [f"b{number}" for number in range(7)]
    usae = USAE(dict.fromkeys(names, 4), n_concepts=5, k=2)
    measures = Measures(usae)  # below, a token in which every concept fires in all seven
    measures.firing.add(torch.arange(1), dict.fromkeys(names, Codes(torch.ones(1, 1, 5), torch.arange(5)[None, None])))
    statistics = measures.firing.statistics()
    assert statistics.firing_entropy.max() > 1
    assert concept_figures(usae, statistics)["entropy"]["histogram"] == [0] * 19 + [5]


def test_values_that_no_patch_has_are_left_out_and_said(usae):
    report, _ = evaluate_source(usae, open_images("demo:test", 2))
    truth = report["truth"]
    assert "colour: orange" in truth["unseen"]
    assert "colour: orange" not in truth["values"]
    assert len(truth["values"]) + len(truth["unseen"]) == 9 + 6 + 6
    assert all(0.5 <= each["auroc"] <= 1 for each in truth["values"].values())
    colours = [each["recovered"] for value, each in truth["values"].items() if value.startswith("colour")]
    assert truth["recovered"]["colour"] == sum(colours) / len(colours)
    assert any(
        line.startswith("2 scenes have no patches of these values, which are left out: colour: ")
        for line in report["warnings"]
    )


@pytest.mark.parametrize(("count", "broken"), [(1, ()), (6, (0, 2, 4)), (6, (1, 3, 5))])
def test_without_pictures_to_match_by_or_to_measure_on_nothing_is_aligned(usae, count, broken):
    alone = {name: USAE({name: 16}, n_concepts=8, k=2).eval().requires_grad_(False) for name in usae.names}
    report, _ = evaluate_source(usae, Pictures(count, broken=broken), compared=Comparison(independent=alone))
    assert report["posthoc"] is None
    assert set(report["independent"]["cost"]) == {"left", "right"}
    assert any(line.endswith("measured on the other: one is empty.") for line in report["warnings"])


def test_pictures_are_seen_where_the_backbones_are(usae):
    """As scenes are that were drawn on the CPU: `meta` stands for a GPU."""
    there = copy.deepcopy(usae).to("meta")
    assert there.tokens("left", torch.zeros(1, 3, 96, 96)).device.type == "meta"


def test_nothing_is_written_when_the_pictures_cannot_be_read(usae, tmp_path):
    ut.save(usae, tmp_path / "usae")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"broken")
    words = ["evaluate", str(tmp_path / "usae"), str(tmp_path / "pictures"), "--out", str(tmp_path / "report")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "none of the 1 picture" in done.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("independent", [False, True])
def test_a_report_is_the_same_to_the_bit_whatever_the_number_of_workers(usae, independent):
    own = {name: usae_of_one(usae, name) for name in usae.names} if independent else None
    found = [
        evaluate_source(
            usae, open_images("demo:test", 20), batch=8, compared=Comparison(independent=own, workers=workers)
        )
        for workers in (1, 2)
    ]
    (alone, statistics), (spread, same) = found
    assert json.dumps(spread) == json.dumps(alone)
    for one, other in zip(vars(statistics).values(), vars(same).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def usae_of_one(usae, name):
    return ut.fit({name: torch.randn(200, usae.widths[name])}, n_concepts=12, k=3, steps=5, batch=64)
