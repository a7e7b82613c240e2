"""Variants of the space in the one loop: by hand, resumed to the bit, kept in a folder, and refused in one line."""

import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional
from toys import WIDTHS, toy_settings, toy_tokens

import usae_train as ut
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.jumprelu import JumpReLU
from usae_train.model.sparsity.variant import EntryIndices, batch_threshold, entries_above
from usae_train.runtime.signals import Stopped
from usae_train.tokens.feeding import MemoryFeed
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.dictionaries.archetypal import Mixtures, in_order_of_use, nearest
from usae_train.training.initialization import initialize
from usae_train.training.loop import fit_tokens, fractions_of, new_usae
from usae_train.training.resolving import fit_settings
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.thresholds import threshold_sample

CHOICES = {
    "batchtopk": {"sparsity": "batchtopk"},
    "jumprelu": {"sparsity": "jumprelu"},
    "archetypal": {"dictionary": "archetypal"},
    "drawn": {"matryoshka_fractions": (0.25, 0.5, 0.75), "matryoshka": "drawn"},
    "all": {"sparsity": "jumprelu", "dictionary": "archetypal", "matryoshka_fractions": (0.2, 0.6)},
}
RECIPES = {
    f"{base.name} {name}": TrainingRecipe(**{**dict(base), "dead_after": 2, **choice})
    for base in (DEFAULT, PUBLISHED)
    for name, choice in CHOICES.items()
}


class StopsAfter(TrainingCheckpointer):
    def after(self, step, state, *others):
        self._write(step, state)
        if step == 3:
            raise Stopped("enough")


def bits(usae: ut.USAE) -> dict[str, bytes]:
    return {name: own.numpy().tobytes() for name, own in usae.state_dict().items()}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_variant_is_trained_resumed_to_the_bit_and_kept(tmp_path: Path, recipe: TrainingRecipe) -> None:
    settings, tokens = toy_settings(recipe, steps=7), toy_tokens()
    whole = fit_tokens(tokens, settings)
    with pytest.raises(Stopped):
        fit_tokens(tokens, settings, checkpointer=StopsAfter(tmp_path / "states"))
    assert bits(fit_tokens(tokens, settings, checkpointer=TrainingCheckpointer(tmp_path / "states"))) == bits(whole)
    ut.save(whole, tmp_path / "usae")
    loaded = ut.load(tmp_path / "usae")
    assert bits(loaded) == bits(whole)
    assert loaded.recipe == recipe.title
    for name, own in tokens.items():
        codes = loaded.encode(name, own)
        assert torch.equal(codes.values, whole.encode(name, own).values)
        assert all(loaded.decode(other, codes).isfinite().all() for other in WIDTHS)
    start = new_usae(WIDTHS, settings)
    assert not any(
        torch.equal(own, start.get_parameter(key)) for key, own in whole.named_parameters() if "weight" in key
    )


@pytest.mark.parametrize("name", ["batchtopk", "jumprelu"])
def test_a_threshold_leaves_about_k_active_without_noise(name: str) -> None:
    tokens = toy_tokens(2000)
    usae = fit_tokens(tokens, FitSettings(n_concepts=24, k=3, steps=60, batch=256, sparsity=name))
    active = [(usae.encode(own, each).values > 0).sum(-1).float().mean() for own, each in tokens.items()]
    assert all(2.5 < each < 3.5 for each in active), active


def test_a_state_of_another_variant_is_one_line(tmp_path: Path) -> None:
    recipes = [TrainingRecipe(**{**dict(DEFAULT), **CHOICES[name]}) for name in ("batchtopk", "jumprelu")]
    with pytest.raises(Stopped):
        fit_tokens(toy_tokens(), toy_settings(recipes[0], steps=7), checkpointer=StopsAfter(tmp_path))
    with pytest.raises(ValueError, match=r"was begun with another recipe.sparsity; give the same settings") as caught:
        fit_tokens(toy_tokens(), toy_settings(recipes[1], steps=7), checkpointer=TrainingCheckpointer(tmp_path))
    assert "\n" not in str(caught.value)
    file = tmp_path / "step-000000003.pt"
    state = torch.load(file, weights_only=True)
    state["usae"]["thresholds.a"] = torch.zeros(12)
    torch.save(state, file)
    for other in ("step-000000001.pt", "step-000000002.pt"):
        (tmp_path / other).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"usae: thresholds.a is \(12,\) of torch.float32; expected \(\)"):
        fit_tokens(toy_tokens(), toy_settings(recipes[0], steps=7), checkpointer=TrainingCheckpointer(tmp_path))


def test_batchtopk_takes_the_largest_of_the_batch_whichever_token_has_them() -> None:
    pre_codes = torch.tensor([[5.0, 4.0, 3.0], [2.0, 1.0, -1.0], [0.5, -2.0, -3.0]])
    for running in (0.0, 3.0, 100.0):  # what it was before is no more than where to look first
        chosen = BatchTopK().choose(pre_codes, 1, torch.tensor(running))
        assert (chosen.tokens.tolist(), chosen.concepts.tolist()) == ([0, 0, 0], [0, 1, 2])
    chosen = BatchTopK().choose(pre_codes, 3, torch.tensor(0.0))  # six are positive, and no others are taken
    assert len(chosen.tokens) == 6
    threshold = torch.tensor(10.0)
    BatchTopK().follow(threshold, pre_codes, 1)
    assert threshold.item() == pytest.approx(0.9 * 10 + 0.1 * 2)
    BatchTopK().start(threshold, pre_codes, 1)
    assert threshold.item() == 2.0


def test_a_batch_that_is_divided_has_one_threshold() -> None:
    parts = [torch.tensor([[5.0, 4.0, 3.0]]), torch.tensor([[2.0, 1.0, -1.0]])]
    rows = torch.cat([own[own > 0] for own in parts])
    for own, other in (parts, parts[::-1]):
        ranks = SimpleNamespace(
            gather=lambda value, other=other: [value, 1 if value == 1 else int((other > 0).sum())],
            all_gather_rows=lambda found: rows,
        )
        assert batch_threshold(own, 1, 0.0, ranks).item() == 3.0 == batch_threshold(torch.cat(parts), 1).item()


def test_jumprelu_by_hand() -> None:
    """Rajamanoharan et al. 2024, equations 11 and 12, with a bandwidth of half the threshold: 0.5 and 1."""
    threshold = torch.tensor([1.0, 2.0], requires_grad=True)
    pre_codes = torch.tensor([0.8, 1.2, 3.0, 1.6, 2.4], requires_grad=True)
    chosen = EntryIndices(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 0, 1, 1]))
    sparsity = JumpReLU(bandwidth=0.5, weight=3.0)
    values = sparsity.activate(pre_codes, chosen.concepts, threshold)
    assert values.tolist() == pytest.approx([0.0, 1.2, 3.0, 0.0, 2.4])
    (values * torch.tensor([1.0, 10.0, 100.0, 1.0, 10.0])).sum().backward()
    assert pre_codes.grad is not None
    assert pre_codes.grad.tolist() == [0.0, 10.0, 100.0, 0.0, 10.0]
    assert threshold.grad is not None
    assert threshold.grad.tolist() == pytest.approx([-11 / 0.5, -11 / 0.5])
    threshold.grad = None
    penalty = sparsity.penalty(pre_codes, chosen, None, 3, 2, threshold)  # 3 active of 3 tokens, for k = 2
    assert penalty.item() == pytest.approx(3 * (1 / 2 - 1) ** 2)
    penalty.backward()
    slope = 3 * 2 * (1 / 2 - 1) / 2 / 3  # of the count
    assert threshold.grad.tolist() == pytest.approx([-2 * slope / 0.5, -2 * slope / 1.0])
    revived = torch.tensor([False, True, False, False, False])
    assert sparsity.penalty(pre_codes, chosen, revived, 3, 2, threshold).item() == pytest.approx(3 * (1 / 3 - 1) ** 2)


def test_jumprelu_computes_what_is_near_a_threshold_as_well() -> None:
    chosen = JumpReLU().choose(torch.tensor([[0.8, 0.7, 1.1]]), 1, torch.tensor([1.0, 1.0, 1.0]))
    assert chosen.concepts.tolist() == [0, 2]
    threshold = torch.tensor([0.5, -1.0])
    JumpReLU().finish(threshold, torch.tensor([[2.0, -1.0], [1.0, -1.0], [0.25, 3e-5]]), 1)
    assert threshold.tolist() == pytest.approx([0.5 * 0.3, 1e-4 * 0.3])  # what three of the four exceed


@patch("usae_train.training.dictionaries.archetypal.product_dtype", lambda device: torch.float32)
def test_rows_of_an_archetypal_dictionary_are_mixtures_and_a_bounded_rest() -> None:
    settings = toy_settings(TrainingRecipe(**{**dict(DEFAULT), **CHOICES["archetypal"]}))
    usae, feed = new_usae(WIDTHS, settings), MemoryFeed(toy_tokens())
    initialize(usae, feed, settings.recipe, 0)
    supports = []
    for name in WIDTHS:
        rows = usae.decoder(name).parametrizations.weight[0]
        assert isinstance(rows, Mixtures)
        assert functional.cosine_similarity(usae.dictionary(name), rows.points[rows.support[:, 0]]).min() > 0.7
        rows.mixing.data.normal_(std=3)
        weights = torch.linalg.lstsq(
            rows.points[rows.support[0]].T.double(), rows.mixed()[0].double()[:, None]
        ).solution
        if len(weights) <= WIDTHS[name]:
            assert weights.sum().item() == pytest.approx(1)
            assert (weights > 0).all()
        long, short = torch.full((WIDTHS[name],), 3.0), torch.full((WIDTHS[name],), 0.01)
        rest = torch.stack([long, short])
        rows.project(rest)
        assert torch.equal(rest[1], short)
        assert rest[0].norm().item() == pytest.approx(0.5)
        supports.append(rows.support)
    assert all(torch.equal(own, supports[0]) for own in supports)  # the same patches in every backbone


def test_the_nearest_tokens_are_those_over_all_backbones() -> None:
    starts = {"a": torch.eye(2), "b": torch.eye(2)}
    pool = {
        "a": torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]]),
        "b": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
    }
    assert nearest(starts, pool, 1).tolist() == [[0], [2]]


def test_drawn_fractions_rise_from_the_least_named() -> None:
    recipe = RECIPES["default drawn"]
    generator = torch.Generator().manual_seed(0)
    drawn = [fractions_of(recipe, generator) for _ in range(50)]
    assert len(set(drawn)) == 50
    assert all(len(own) == 3 and 0.25 <= own[0] <= own[1] <= own[2] <= 1 for own in drawn)
    before = generator.get_state()
    assert fractions_of(DEFAULT, generator) == (0.25,)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("limit", [0.0, -0.0, 0.3, -0.2, torch.rand(11) * 0.8, torch.linspace(-0.5, 0.5, 11)])
def test_what_exceeds_a_threshold_is_found_by_bits_as_by_numbers(
    dtype: torch.dtype, limit: float | torch.Tensor
) -> None:
    pre_codes = torch.randn(40, 11, generator=torch.Generator().manual_seed(0)).to(dtype)
    pre_codes[0], pre_codes[1], pre_codes[2] = 0.0, -0.0, torch.as_tensor(limit).to(dtype)  # equal does not exceed
    threshold = limit.to(dtype) if isinstance(limit, torch.Tensor) else limit
    expected = (pre_codes > threshold).nonzero()
    found = entries_above(pre_codes, limit)
    assert found.tokens.tolist() == expected[:, 0].tolist()
    assert found.concepts.tolist() == expected[:, 1].tolist()
    assert 0 < len(expected) < pre_codes.numel()


@patch("usae_train.training.dictionaries.archetypal.product_dtype", lambda device: torch.float32)
def test_archetypal_rows_are_those_of_autograd_to_the_bit_and_gradients_but_for_the_last() -> None:
    generator = torch.Generator().manual_seed(0)
    points, support = torch.randn(20, 7, generator=generator), torch.randint(20, (9, 4), generator=generator)
    rest, upstream = torch.randn(2, 9, 7, generator=generator)
    made = Mixtures(points, support, 0.5, unit_norm=False)
    assert made.length is not None
    made.mixing.data.normal_(generator=generator)
    made.length.data.normal_(generator=generator)
    made.length.data[3] = 0.0  # whose gradient is none either way
    changed = [made.mixing, made.length, rest.requires_grad_()]
    expected = (made.mixed() + rest) * made.length.abs()[:, None]
    rows, given = made(rest), upstream.clone()
    assert torch.equal(rows, expected)
    of_autograd = torch.autograd.grad(expected, changed, upstream)
    for found, own in zip(torch.autograd.grad(rows, changed, given), of_autograd, strict=True):
        torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-5)
    assert torch.equal(given, upstream)  # which is autograd's, and may be another's as well
    (to_rest,) = torch.autograd.grad(made(rest).sum(), [rest])  # all of a sum's gradient is one number in memory
    assert torch.equal(to_rest, made.length.detach().abs()[:, None].expand(9, 7))


def test_rows_mixed_of_points_in_bfloat16_are_rounded_once_and_follow_what_is_loaded() -> None:
    points, support = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)), torch.arange(20).view(5, 4)
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        with patch("usae_train.training.dictionaries.archetypal.product_dtype", lambda device, dtype=dtype: dtype):
            made += [Mixtures(own, support, 0.5, unit_norm=False) for own in (points, torch.zeros(20, 7))]
    exact, _, rounded, loaded = made
    torch.testing.assert_close(rounded.mixed(), exact.mixed(), rtol=2**-6, atol=2**-6)
    assert rounded.mixed().dtype == torch.float32
    assert rounded.state_dict().keys() == exact.state_dict().keys() == {"points", "support", "mixing", "length"}
    loaded.load_state_dict(rounded.state_dict())
    assert torch.equal(loaded.mixed(), rounded.mixed())
    assert not torch.equal(rounded.mixed(), exact.mixed())


def test_points_stand_in_the_order_in_which_concepts_use_them() -> None:
    points, support = torch.arange(6.0)[:, None], torch.tensor([[3, 0], [0, 5], [5, 2]])
    ordered, named = in_order_of_use(points, support)
    assert ordered[:, 0].tolist() == [3, 0, 5, 2, 1, 4]
    assert torch.equal(ordered[named], points[support])


def test_what_is_said_beside_a_recipe_is_the_recipes() -> None:
    settings = fit_settings("published", sparsity="jumprelu", matryoshka_fractions="0.1, 0.5", n_concepts=64, k=4)
    assert settings.recipe.model_copy(update={"sparsity": "topk", "matryoshka_fractions": ()}) == PUBLISHED
    assert (settings.recipe.sparsity, settings.recipe.matryoshka_fractions) == ("jumprelu", (0.1, 0.5))
    assert settings.recipe.title == "published, jumprelu"
    assert FitSettings.model_validate(settings.model_dump(mode="json")) == settings
    with_own = fit_settings("default", sparsity={"kind": "jumprelu", "bandwidth": 0.25}, dictionary="archetypal")
    assert with_own.recipe.sparsity == {"kind": "jumprelu", "bandwidth": 0.25, "rate": 5.0, "weight": JumpReLU().weight}
    assert fit_settings("default", sparsity=JumpReLU(), matryoshka_fractions="none").recipe.sparsity == "jumprelu"
    assert new_usae(WIDTHS, with_own).sparsity == JumpReLU(bandwidth=0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sparsity": "jumprelus"},
            "sparsity of kind 'jumprelus'; expected batchtopk, jumprelu, topk; did you mean 'jumprelu'?",
        ),
        ({"sparsity": "relu"}, "'relu' can be read from files, but not trained; expected batchtopk, jumprelu,"),
        ({"sparsity": {"kind": "jumprelu", "rate": math.inf}}, "sparsity: rate: expected a finite number (found inf)"),
        ({"dictionary": {"kind": "archetypal", "rest": math.nan}}, "rest: expected a finite number (found nan)"),
        ({"n_concepts": 4, "k": 5}, "k is 5 and n_concepts 4; expected k <= n_concepts"),
        ({"n_concepts": 8, "k": 2, "matryoshka_fractions": "0.05,0.5"}, "of 8 concepts are parts of 0, 4; expected"),
        ({"n_concepts": 8, "k": 2, "matryoshka_fractions": (0.5, 0.51)}, "of 8 concepts are parts of 4, 4; expected"),
        ({"n_concepts": 8, "k": 2, "matryoshka_fractions": (0.99,)}, "0.99 of 8 concepts are parts of 8; expected"),
        ({"sparsity": {"kind": "jumprelu", "bandwith": 1}}, "bandwith: unknown name"),
        ({"dictionary": "archetypes"}, "dictionary of kind 'archetypes'; expected archetypal, free; did you mean"),
        ({"matryoshka_fractions": "0.5,0.25"}, "expected fractions that rise, such as 0.1,0.25,0.5"),
        ({"matryoshka_fractions": (0.5, 0.5)}, "expected fractions that rise"),
        ({"matryoshka_fractions": (0.5, 1.0)}, "expected shares above 0 and below 1"),
        ({"matryoshka_fractions": "0.5,half"}, "matryoshka_fractions.1 = 'half': expected a number"),
        ({"matryoshka_fractions": "none", "matryoshka": "drawn"}, "there are no matryoshka_fractions; give some"),
        ({"matryoshka": "random"}, "matryoshka = 'random': expected 'fixed' or 'drawn'"),
    ],
)
def test_what_is_no_variant_is_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        fit_settings("default", **settings)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert not isinstance(caught.value, ValidationError)


def test_a_recipe_of_a_yaml_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("like: published\nsparsity: {kind: jumprelu, weight: 0.5}\nmatryoshka_fractions: [0.1, 0.5]\n")
    recipe = fit_settings(str(file)).recipe
    assert (recipe.name, recipe.batch_norm, recipe.matryoshka_fractions) == ("mine", True, (0.1, 0.5))
    assert recipe.sparsity == {"kind": "jumprelu", "bandwidth": JumpReLU().bandwidth, "rate": 5.0, "weight": 0.5}
    file.write_text("sparsity: jumprelu\nbatch_nrom: true\n")
    with pytest.raises(ValueError, match=r"mine.yaml:2: unknown key 'batch_nrom'; did you mean 'batch_norm'\?"):
        fit_settings(str(file))
    file.write_text("name: own\nlike: publisht\n")
    with pytest.raises(ValueError, match="like: no recipe 'publisht'; expected default or frozen"):
        fit_settings(str(file))


def test_thresholds_are_set_by_tokens_of_all_columns_without_outliers() -> None:
    grid = torch.arange(256 * 64).float()  # 256 pictures of 8 x 8 patches, each token its number
    tokens = {"a": torch.stack([grid % 8 + 1, grid], 1)}
    usae = new_usae({"a": 2}, toy_settings(TrainingRecipe(**{**dict(DEFAULT), "sparsity": "jumprelu"})))
    found = threshold_sample(usae, MemoryFeed(tokens), torch.arange(len(grid)), ["a"], {})["a"]
    assert found[:, 0].unique().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    kept = threshold_sample(usae, MemoryFeed(tokens), torch.arange(len(grid)), ["a"], {"a": 1000.0})["a"]
    assert 0 < len(kept) < len(found)
    assert kept.norm(dim=1).max() <= 1000
