"""What a USAE is compared with: independent SAEs, aligned or not, other seeds, chance; worked out by hand on toys."""

import importlib.util

import pytest
import torch
from matrices import r2_matrix
from report_shape import assert_of_its_form

from usae_train.evaluation.evaluate import Comparison, evaluate_source, figures_of, log_correlation, stability
from usae_train.evaluation.independent import consistency, load_independent
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import match_one_to_one, matched_cosines, random_like
from usae_train.evaluation.posthoc import PostHoc
from usae_train.images.sources import open_images
from usae_train.model.firing import measure
from usae_train.model.usae import USAE
from usae_train.tokens.feeding import MemoryFeed, OneBackbone
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.shuffling import ShuffledFeed
from usae_train.training.execution import Execution
from usae_train.training.independent_fit import fit_each
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, FROZEN, SHUFFLED, FitSettings

N = 4
UNNAMED = DEFAULT.model_copy(update={"name": ""})  # as `open_sae` has it


def open_sae(*names: str, order: list[int] | None = None) -> USAE:
    """Concept c is feature order[c] of the tokens, in every backbone; all are kept."""
    usae = USAE(dict.fromkeys(names, N), n_concepts=N, k=N).eval().requires_grad_(False)
    rows = torch.eye(N)[order or list(range(N))]
    for name in names:
        usae.encoder(name).linear.weight.copy_(rows)
        usae.encoder(name).linear.bias.zero_()
        usae.decoder(name).weight.copy_(rows)
        usae.scale(name).std.fill_(1 - 1e-5)
    return usae


@pytest.fixture
def codes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(60, N, generator=generator) * (torch.rand(60, N, generator=generator) < 0.4)


def test_match_finds_the_largest_sum_not_the_largest_of_each_row():
    assert match_one_to_one(torch.tensor([[0.9, 0.8], [0.85, 0.1]])).tolist() == [1, 0]
    assert match_one_to_one(torch.tensor([[0.1], [0.9]])).tolist() == [-1, 0]


def test_cosines_of_a_space_in_another_order_are_one_and_left_over_concepts_have_none():
    eye = torch.eye(4)
    assert matched_cosines([eye[:3]], [eye[[2, 0, 1]]]).tolist() == [1, 1, 1]
    assert matched_cosines([eye[:2]], [eye[[1]]]).isnan().tolist() == [True, False]


def test_random_atoms_have_the_mean_and_variance_of_the_dictionary():
    atoms = torch.zeros(20_000, 3)
    atoms[:, 0] = 1
    assert torch.equal(random_like(atoms, torch.Generator().manual_seed(0)), atoms)  # no variance: all the same
    atoms[::2, 1] = 1.0
    drawn = random_like(atoms, torch.Generator().manual_seed(0))
    assert drawn[:, 2].abs().max() == 0
    assert (drawn[:, 1] / drawn[:, 0]).mean().item() == pytest.approx(0.5, abs=0.02)
    assert (drawn[:, 1] / drawn[:, 0]).std().item() == pytest.approx(0.5, abs=0.02)


def test_alignment_undoes_an_order_and_a_gain(codes: torch.Tensor):
    """b sees twice what a sees, and its own SAE has the concepts in another order."""
    order = [2, 0, 3, 1]
    posthoc = PostHoc({"a": open_sae("a"), "b": open_sae("b", order=order)})
    tokens = {"a": codes, "b": 2 * codes}
    posthoc.add({name: rows[:30] for name, rows in tokens.items()}, matching=True)
    posthoc.align()
    assert [order[concept] for concept in posthoc.partners["a>b"].tolist()] == [0, 1, 2, 3]
    assert posthoc.partners["b>a"].tolist() == order
    torch.testing.assert_close(posthoc.gains["a>b"], torch.full((N,), 2.0))
    torch.testing.assert_close(posthoc.gains["b>a"], torch.full((N,), 0.5))
    posthoc.add({name: rows[30:] for name, rows in tokens.items()}, matching=False)
    for source, row in posthoc.cross.r2.items():
        assert row == pytest.approx({"a": 1, "b": 1}), source
    assert posthoc.alone.r2["b"] == pytest.approx({"b": 1})


def test_what_is_not_related_cannot_be_aligned(codes: torch.Tensor):
    posthoc = PostHoc({"a": open_sae("a"), "b": open_sae("b")})
    tokens = {"a": codes, "b": codes[torch.randperm(60, generator=torch.Generator().manual_seed(1))]}
    posthoc.add({name: rows[:30] for name, rows in tokens.items()}, matching=True)
    posthoc.align()
    posthoc.add({name: rows[30:] for name, rows in tokens.items()}, matching=False)
    assert posthoc.cross.r2["a"]["b"] < 0.3


def test_consistency_of_the_same_atoms_is_one_and_its_baseline_is_not():
    usae, alone = open_sae("a"), open_sae("a", order=[1, 0, 3, 2])
    figures = consistency(usae, {"a": alone}, torch.tensor([5, 0, 9, 1]))["a"]
    assert figures["cosines"] == pytest.approx([1] * N)
    assert (figures["share_alike"], figures["mean"], figures["most"]) == (1, 1, N)
    assert figures["baseline"]["mean"] < 0.99
    other = open_sae("a")
    other.decoder("a").weight[2:] *= -1  # the two most co-firing concepts but one have no like
    figures = consistency(usae, {"a": other}, torch.tensor([9, 5, 0, 1]))["a"]
    assert figures["share_alike"] == 0.5


def test_the_cost_and_the_joint_figure_are_of_the_same_pictures(codes: torch.Tensor):
    """A joint space that is blind to one concept costs what that concept explains."""
    usae = open_sae("a", "b")
    usae.encoder("a").linear.weight[3] = 0
    independent = {"a": open_sae("a"), "b": open_sae("b")}
    measures = Measures(usae, independent)
    shares = measures.shares(12)
    assert [list(share) for share in shares] == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]
    images = {"a": codes.view(12, 5, N), "b": codes.view(12, 5, N)}
    for half, share in enumerate(shares):
        measures.add(PairedTokens({n: t[list(share)] for n, t in images.items()}, torch.tensor(list(share))), half)
        if half == 0:
            assert measures.posthoc is not None
            measures.posthoc.align()
    compared = Comparison(independent=independent, other_seeds=[open_sae("a", "b")])
    figures, _ = figures_of(usae, measures, compared)
    assert_of_its_form(figures)
    lost = codes[:, 3].square().sum() / (codes - codes.mean(0)).square().sum()
    assert figures["independent"]["cost"]["a"] == pytest.approx(lost.item(), abs=1e-5)
    assert figures["independent"]["cost"]["b"] == pytest.approx(0, abs=1e-6)
    measured = codes.view(12, 5, N)[1::2].flatten(0, 1)
    lost = measured[:, 3].square().sum() / (measured - measured.mean(0)).square().sum()
    assert figures["posthoc"]["joint_r2"]["a"]["b"] == pytest.approx(1 - lost.item(), abs=1e-5)
    assert figures["posthoc"]["r2"]["a"]["b"] == pytest.approx(1, abs=1e-5)


def test_the_log_correlation_counts_frequent_concepts_alone():
    co_fires = torch.tensor([0, 10, 100, 1000, 10_000, 100_000])
    energy = torch.tensor([1.0, 5.0, 1.0, 1e3, 1e4, 1e5])
    assert log_correlation(co_fires, energy, 1000) == pytest.approx(1)
    assert log_correlation(co_fires, energy, 1) < 0.99
    assert log_correlation(co_fires[:3], energy[:3], 1) != log_correlation(co_fires[:3], energy[:3], 1)  # NaN: two


def test_a_usae_without_backbones_is_refused():
    with pytest.raises(ValueError, match="fitted on bare activations: it has no backbones to see pictures with"):
        evaluate_source(open_sae("a"), open_images("demo:test", 2))


def test_stability_takes_every_pair():
    found = stability([open_sae("a"), open_sae("a", order=[3, 2, 1, 0]), open_sae("a")])
    assert len(found["pairs"]) == 3
    assert found["mean"] == pytest.approx(1)


@pytest.fixture
def tokens() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    causes = torch.randn(600, 5, generator=generator)
    return {name: causes @ torch.randn(5, 8, generator=generator) for name in ("a", "b")}


def test_a_frozen_dictionary_stays_random(tokens: dict[str, torch.Tensor]):
    settings = FitSettings(n_concepts=12, k=3, steps=20, batch=64, recipe=FROZEN)
    before = new_usae({"a": 8, "b": 8}, settings).dictionary("a").clone()
    fitted = fit_tokens(tokens, settings)
    torch.testing.assert_close(fitted.dictionary("a"), before)
    assert fitted.recipe == "frozen"
    assert not torch.allclose(fitted.encoder("a").linear.weight, before, atol=1e-3)


def test_shuffled_pairs_are_the_same_tokens_in_other_company(tokens: dict[str, torch.Tensor]):
    feed = ShuffledFeed(MemoryFeed({"a": tokens["a"], "b": tokens["a"]}), seed=3)
    loaded = feed.load([0])
    assert (loaded["a"] == loaded["b"]).all(1).float().mean() < 0.05
    torch.testing.assert_close(loaded["a"].sort(0).values, tokens["a"].sort(0).values)
    assert torch.equal(feed.load([0])["b"], loaded["b"])  # a run that goes on sees the same
    picked = feed.pick(torch.arange(100))
    assert (picked["a"] == picked["b"]).all(1).float().mean() < 0.2


def test_shuffled_pairs_share_nothing(tokens: dict[str, torch.Tensor]):
    sizes = {"n_concepts": 12, "k": 3, "steps": 150, "batch": 64}
    true = r2_matrix(fit_tokens(tokens, FitSettings(**sizes, recipe=DEFAULT)), tokens)
    chance = r2_matrix(fit_tokens(tokens, FitSettings(**sizes, recipe=SHUFFLED)), tokens)
    assert true["a"]["b"] > 0.4
    assert chance["a"]["b"] < 0.1


def test_one_backbone_of_a_feed(tokens: dict[str, torch.Tensor]):
    feed = OneBackbone(MemoryFeed(tokens), "b")
    assert feed.widths == {"b": 8}
    assert len(feed) == 600
    assert torch.equal(feed.pick(torch.tensor([4]))["b"], tokens["b"][[4]])
    assert list(feed.load(feed.windows(torch.Generator())[0])) == ["b"]


def test_independent_saes_have_seeds_of_their_own_and_are_not_trained_twice(tmp_path):
    asked = []

    def fit_one(name: str, settings: FitSettings, how: Execution) -> USAE:  # noqa: ARG001
        asked.append((name, settings.seed, settings.init_seed))
        return open_sae(name)

    settings, data = FitSettings(n_concepts=N, k=N, recipe=UNNAMED, seed=7), {"pictures": "here"}
    for _ in range(2):
        fit_each(["a", "b"], settings, fit_one, tmp_path / "own", data=data)
    assert asked == [("a", 8, 1), ("b", 9, 2)]
    with pytest.raises(ValueError, match="own has SAEs of another pictures; give the same settings"):
        fit_each(["a", "b"], settings, fit_one, tmp_path / "own", data={"pictures": "there"})
    other = FitSettings(n_concepts=5, k=N, recipe=UNNAMED)
    with pytest.raises(ValueError, match="own has SAEs of another n_concepts, seed; give the same settings, choose"):
        fit_each(["a", "b"], other, fit_one, tmp_path / "own")
    (tmp_path / "own" / "independent.json").unlink()  # as older versions left it
    with pytest.raises(ValueError, match=r"a has 4 concepts, k 4, recipe ; expected 5 concepts, k 4, recipe : choose"):
        fit_each(["a", "b"], other, fit_one, tmp_path / "own")
    assert list(load_independent(tmp_path / "own", open_sae("b", "a"))) == ["b", "a"]
    moved = load_independent(tmp_path / "own", open_sae("a").to("meta"))
    assert moved["a"].device.type == "meta"  # as the USAE is: on a GPU both are compared there
    with pytest.raises(ValueError, match=r"own has no c; expected a folder for each of c, as usae-train fit --indep"):
        load_independent(tmp_path / "own", open_sae("c"))
    wide = USAE({"a": 5}, n_concepts=4, k=2)
    with pytest.raises(ValueError, match=r"a is over {'a': 4} on the grid None; expected {'a': 5} on None"):
        load_independent(tmp_path / "own", wide)


def overcomplete_metrics():
    """The package's metrics alone: its __init__ needs an older matplotlib."""
    found = importlib.util.find_spec("overcomplete")
    if found is None or not found.submodule_search_locations:
        pytest.skip("overcomplete comes with the extra `bench`")
    spec = importlib.util.spec_from_file_location("metrics", f"{found.submodule_search_locations[0]}/metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_r2_energy_and_dead_codes_are_those_of_overcomplete(codes: torch.Tensor):
    """Beside the values worked out by hand in test_statistics.py and test_evaluate.py."""
    metrics = overcomplete_metrics()
    usae = open_sae("a")
    codes = codes * torch.tensor([1.0, 1, 0, 1])
    usae.scale("a").mean.fill_(3.0)
    seen = codes + 0.1 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(2)) + 3
    measures = Measures(usae)
    measures.add(PairedTokens({"a": seen[:, None]}, torch.arange(60)), 0)
    decoded = usae.decode("a", usae.encode("a", seen))
    ours = measures.total().r2_scalar["a"]["a"]
    assert ours == pytest.approx(metrics.r2_score(seen, decoded).item(), abs=1e-4)
    statistics = measure(usae, PairedTokens({"a": codes[:, None] + 3}, torch.arange(60)))
    dense = usae.encode("a", codes + 3).dense(N)
    # its docstring has the squared norm, as the paper and we; its code the norm
    torch.testing.assert_close(statistics.energy[0], metrics.energy_of_codes(dense, usae.dictionary("a")).square())
    assert ((statistics.fires[0] == 0).float() == metrics.dead_codes(dense * (dense > 0.1))).all()
