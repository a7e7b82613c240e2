import math
import re
from pathlib import Path

import pytest
import torch
from matrices import r2_matrix
from toys import WIDTHS, toy_settings, toy_tokens

from usae_train.demo.activations import known_world
from usae_train.model.usae import USAE
from usae_train.tokens.feeding import Batches, MemoryFeed
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.gradient_clipping import clip_gradients, gradient_norms, trained_parameters
from usae_train.training.initialization import initialize, standardize_from
from usae_train.training.loop import EXACT_STEPS, fit_tokens, learning_rate, new_optimizer, new_usae, stepping_pairs
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import step_loss
from usae_train.training.step_plan import StepPlan


def at_the_start(settings: FitSettings) -> USAE:
    """What `fit_tokens` starts from."""
    usae, feed = new_usae(WIDTHS, settings), MemoryFeed(toy_tokens())
    standardize_from(usae, feed, torch.arange(len(feed)), list(WIDTHS), settings)
    initialize(usae, feed, settings.recipe, settings.init_seed)
    return usae


def changed_tensors(before: USAE, after: USAE) -> set[str]:
    states = before.state_dict(), after.state_dict()
    return {name for name, value in states[0].items() if not torch.equal(value, states[1][name])}


def pairs_of(tensors: set[str]) -> set[str]:
    return {name.split(".")[1] for name in tensors if not name.startswith("scales")}


def test_a_published_step_changes_one_pair_alone() -> None:
    drawn = set()
    for seed in range(20):
        settings = toy_settings(PUBLISHED, seed=seed)
        changed = changed_tensors(new_usae(WIDTHS, settings), fit_tokens(toy_tokens(), settings))
        pairs = pairs_of(changed)
        assert len(pairs) == 1
        (pair,) = pairs
        assert {f"encoders.{pair}.linear.weight", f"dictionaries.{pair}.weight"} <= changed
        drawn |= pairs
    assert drawn == set(WIDTHS)


def test_a_default_step_changes_every_pair() -> None:
    settings = toy_settings(DEFAULT)
    changed = changed_tensors(at_the_start(settings), fit_tokens(toy_tokens(), settings))
    for name in WIDTHS:
        assert f"encoders.{name}.linear.weight" in changed
        assert {f"dictionaries.{name}.weight", f"dictionaries.{name}.offset"} <= changed


def test_the_published_dictionary_has_no_offset_however_long_it_trains() -> None:
    usae = fit_tokens(toy_tokens(), toy_settings(PUBLISHED, steps=30))
    assert all((usae.decoder(name).offset == 0).all() for name in WIDTHS)
    usae = fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=30))
    assert all((usae.decoder(name).offset != 0).any() for name in WIDTHS)


def test_stepping_pairs() -> None:
    assert stepping_pairs(PUBLISHED, ["a", "b"], "b") == ["b"]
    assert stepping_pairs(DEFAULT, ["a", "b"], "b") == ["a", "b"]


def test_pair_parameters_are_all_but_the_published_offset() -> None:
    usae = new_usae(WIDTHS, toy_settings(PUBLISHED))
    of_a = {id(p) for n, p in usae.named_parameters() if n.split(".")[1] == "a"}
    assert {id(p) for p in trained_parameters(usae, "a", DEFAULT)} == of_a
    assert {id(p) for p in trained_parameters(usae, "a", PUBLISHED)} == of_a - {id(usae.decoder("a").offset)}


def test_the_start_ties_encoders_to_dictionaries_at_the_same_patches() -> None:
    usae, tokens = at_the_start(toy_settings(DEFAULT)), toy_tokens()
    rows = set()
    for name in WIDTHS:
        atoms, offset = usae.dictionary(name), usae.decoder(name).offset
        torch.testing.assert_close(usae.encoder(name).linear.weight, atoms)
        torch.testing.assert_close(usae.encoder(name).linear.bias, -atoms @ offset)
        centred = torch.nn.functional.normalize(usae.standardize(name, tokens[name]) - offset, dim=-1)
        cosine = atoms @ centred.T
        torch.testing.assert_close(cosine.amax(1), torch.ones(12))
        rows.add(tuple(cosine.argmax(1).tolist()))
    assert len(rows) == 1


def test_the_start_does_not_depend_on_the_seed_but_on_its_own() -> None:
    atoms = {
        (start, seed): at_the_start(toy_settings(DEFAULT, seed=seed, init_seed=start)).dictionary("a")
        for start in (0, 1)
        for seed in (0, 1)
    }
    assert torch.equal(atoms[0, 0], atoms[0, 1])
    assert torch.equal(atoms[1, 0], atoms[1, 1])
    assert (atoms[0, 0] * atoms[1, 0]).sum(1).amin() < 0.9


@pytest.mark.parametrize("mask", [False, True])
def test_two_seeds_train_from_one_start(mask: bool) -> None:
    def barely_trained(seed: int, init_seed: int) -> torch.Tensor:
        recipe = DEFAULT.model_copy(update={"learning_rate": 1e-9, "final_learning_rate": 1e-9})
        settings = toy_settings(recipe, steps=1, seed=seed, init_seed=init_seed, mask_outliers=mask)
        return fit_tokens(toy_tokens(), settings).dictionary("a")

    torch.testing.assert_close(barely_trained(0, 0), barely_trained(1, 0))
    assert (barely_trained(0, 0) * barely_trained(0, 1)).sum(1).amin() < 0.9


SCHEDULE = FitSettings(steps=100, recipe=TrainingRecipe(learning_rate=1.0, final_learning_rate=0.1, warm_up=0.1))


def test_learning_rate_at_the_ends_and_halfway() -> None:
    assert learning_rate(0, SCHEDULE) == pytest.approx(0.1)
    assert learning_rate(4, SCHEDULE) == pytest.approx(0.5)
    assert learning_rate(9, SCHEDULE) == learning_rate(10, SCHEDULE) == pytest.approx(1.0)
    assert learning_rate(55, SCHEDULE) == pytest.approx(0.55)
    assert learning_rate(99, SCHEDULE) == pytest.approx(0.1, abs=1e-3)
    assert learning_rate(100, SCHEDULE) == pytest.approx(0.1)


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, SCHEDULE) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_learning_rate_never_passes_the_recipes(steps: int) -> None:
    settings = FitSettings(steps=steps)
    assert max(learning_rate(step, settings) for step in range(steps)) <= DEFAULT.learning_rate * (1 + 1e-6)


def numbered(rows: int, batch: int) -> Batches:
    """Batches of tokens that are their own numbers."""
    feed = MemoryFeed({"a": torch.arange(float(rows))[:, None]})
    return Batches(feed, batch, torch.Generator().manual_seed(0))


def test_an_epoch_is_a_permutation_and_each_has_its_own() -> None:
    batches = numbered(10, 3)
    rows = torch.cat([batches.next()["a"][:, 0] for _ in range(10)])
    epochs = [tuple(epoch.tolist()) for epoch in rows.split(10)]
    assert [len(epoch) for epoch in epochs] == [10, 10, 10]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 3


def test_a_set_smaller_than_a_batch_is_shown_evenly() -> None:
    rows = numbered(3, 7).next()["a"][:, 0].long()
    assert len(rows) == 7
    assert sorted(rows.bincount(minlength=3).tolist()) == [2, 2, 3]


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(recipe: TrainingRecipe) -> None:
    first, second, other = (
        fit_tokens(toy_tokens(), toy_settings(recipe, steps=15, seed=seed)).state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["encoders.a.linear.weight"], other["encoders.a.linear.weight"])


def test_weights_do_not_depend_on_the_global_generator_and_leave_it_alone() -> None:
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        weights.append(fit_tokens(toy_tokens(), toy_settings(PUBLISHED, steps=3)).dictionary("a"))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*weights)


def test_dead_concepts_are_counted_in_each_backbone() -> None:
    """That they are revived there, and how, is in test_step.py."""
    recipe = DEFAULT.model_copy(update={"dead_after": 2, "tied": False, "dictionary_init": "random", "encoding": "all"})
    told: list[dict[str, float]] = []
    settings = toy_settings(recipe, steps=60, n_concepts=48, k=1)
    fit_tokens(toy_tokens(), settings, progress=lambda step, figures: told.append(figures["dead"]))
    assert told[0] == dict.fromkeys(WIDTHS, 0.0)
    assert all(max(shares[name] for shares in told) > 0.2 for name in WIDTHS)
    assert any(len(set(shares.values())) > 1 for shares in told)


def test_progress_ends_at_the_last_step_after_about_a_hundred_calls() -> None:
    calls: list[int] = []
    fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=250), progress=lambda step, figures: calls.append(step))
    assert calls[-1] == 250
    assert 80 <= len(calls) <= 130
    assert calls == sorted(set(calls))


def test_training_learns_a_shared_code() -> None:
    generator = torch.Generator().manual_seed(0)
    world = known_world(3000, generator, {"a": 24, "b": 16}, shared=24, active=3, private=1)
    settings = FitSettings(n_concepts=48, k=6, steps=250, batch=512)
    start = r2_matrix(fit_tokens(world.tokens, settings.model_copy(update={"steps": 1})), world.tokens)
    end = r2_matrix(fit_tokens(world.tokens, settings), world.tokens)
    for source, target in [("a", "b"), ("b", "a")]:
        assert end[source][source] > 0.6
        assert end[source][target] > 0.4
        assert end[source][target] > start[source][target]


def test_r2_matrix_says_from_whom_to_whom() -> None:
    """Codes of `a` are tokens themselves; `b` decodes to the wrong sign of everything."""
    usae = USAE({"a": 2, "b": 2}, 4, 4).eval().requires_grad_(False)
    axes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for name, sign in (("a", 1.0), ("b", -1.0)):
        usae.encoder(name).linear.weight.copy_(axes)
        usae.encoder(name).linear.bias.zero_()
        usae.decoder(name).weight.copy_(sign * axes)
        usae.scale(name).std.fill_(1 - 1e-5)
    tokens = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    matrix = r2_matrix(usae, {"a": tokens, "b": tokens})
    for source in ("a", "b"):
        assert matrix[source]["a"] == pytest.approx(1.0, abs=1e-5)
        assert matrix[source]["b"] == pytest.approx(1 - 4, abs=1e-4)


def test_a_loss_that_blows_up_says_at_which_step_and_what_to_do() -> None:
    recipe = DEFAULT.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(
        ValueError, match=r"the loss is (inf|nan) at step \d+ \(.*a -> b.*\); lower the recipe's learning_rate"
    ):
        fit_tokens(toy_tokens(), toy_settings(recipe, steps=5))


def test_tokens_that_are_broken_where_nobody_looked_before_are_named():
    """Mean and std are of a sample; in an old store the first NaN can be anywhere."""

    class Spoiled(MemoryFeed):
        def load(self, window):
            whole = super().load(window)
            return {**whole, "b": whole["b"].index_fill(0, torch.tensor(5), torch.nan)}

    with pytest.raises(ValueError, match=r"^b: some tokens of step \d+ are NaN or infinite; check the backbone's"):
        fit_tokens(Spoiled(toy_tokens()), toy_settings(DEFAULT, steps=50))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({}, r"no tokens to fit; expected \{backbone: tensor \(n, width\)\}"),
        ({"a": torch.ones(3)}, r"a: tokens have shape \(3,\); expected \(n, width\), both above 0"),
        ({"a": torch.ones(3, 0)}, r"a: tokens have shape \(3, 0\)"),
        ({"a": torch.ones(3, 2).numpy()}, r"a: tokens are a ndarray; expected a torch tensor \(n, width\)"),
        ({"a": torch.ones(0, 3)}, r"a: tokens have shape \(0, 3\)"),
        ({"a": torch.tensor([[1.0, math.nan]])}, "a: some tokens are NaN or infinite"),
        ({"a": torch.tensor([[1.0, math.inf]])}, "a: some tokens are NaN or infinite"),
        ({"a": torch.ones(3, 2), "b": torch.ones(4, 2)}, r"tokens differ in number: \{'a': 3, 'b': 4\}"),
    ],
)
def test_tokens_that_do_not_pair_are_refused(tokens: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_tokens(tokens, toy_settings(DEFAULT))


def test_a_fitted_model_is_frozen_and_in_evaluation_mode() -> None:
    usae = fit_tokens(toy_tokens(), toy_settings(PUBLISHED))
    assert not usae.training
    assert not any(p.requires_grad for p in usae.parameters())


def test_an_explosion_stops_before_its_step_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    """A rate that is right for two steps and then much too large: what was kept is finite, and training goes on."""
    tokens, kept = toy_tokens(), TrainingCheckpointer(tmp_path, minutes=0, keep=2)
    recipe = DEFAULT.model_copy(update={"learning_rate": 1e5, "warm_up": 0.0, "final_learning_rate": 1e5})
    with pytest.raises(ValueError, match=r"(the loss is|the gradient of)") as error:
        fit_tokens(tokens, toy_settings(recipe, steps=60), checkpointer=kept)
    message = str(error.value)
    assert re.search(r" at step \d+", message)
    assert re.search(r"; lower the recipe's learning_rate; the last good state is of step \d+ in ", message)
    assert any(f"{name} -> " in message or f"gradient of {name}" in message for name in WIDTHS)
    files = sorted(tmp_path.glob("step-*.pt"))
    assert files
    for file in files:
        state = torch.load(file, weights_only=True)
        assert all(value.isfinite().all() for value in state["usae"].values())


def test_a_gradient_that_is_not_finite_names_its_backbone_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    usae = new_usae(WIDTHS, toy_settings(DEFAULT))
    usae.encoder("b").linear.bias.register_hook(lambda gradient: gradient * math.nan)
    before: dict[str, torch.Tensor] = {}

    def remember(*given: object, **named: object) -> tuple[torch.Tensor, torch.Tensor]:
        before.update({name: value.clone() for name, value in usae.state_dict().items()})
        return step_loss(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("usae_train.training.loop.step_loss", remember)
    with pytest.raises(ValueError, match=r"the gradient of b is not finite at step 0; lower .* learning_rate$"):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=3), usae)
    assert all(torch.equal(value, before[name]) for name, value in usae.state_dict().items())


def test_the_first_steps_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    exact: list[object] = []

    def remember(usae: USAE, batch: dict[str, torch.Tensor], plan: StepPlan, *more: object) -> object:
        exact.append(plan.exact)
        return step_loss(usae, batch, plan, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("usae_train.training.loop.step_loss", remember)
    fit_tokens(toy_tokens(), toy_settings(PUBLISHED, steps=EXACT_STEPS + 2))
    assert exact == [True] * EXACT_STEPS + [False] * 2


@pytest.mark.parametrize("clip", [0.1, 1e6])
def test_clipping_is_torchs(clip: float) -> None:
    recipe = DEFAULT.model_copy(update={"max_grad_norm": clip})
    usaes = [USAE({"a": 6, "b": 4}, 20, 3) for _ in range(2)]
    usaes[1].load_state_dict(usaes[0].state_dict())
    optimizers = [{name: new_optimizer(usae, name, recipe) for name in usae.names} for usae in usaes]
    for step in range(3):
        for usae in usaes:
            usae.zero_grad()
            for number, p in enumerate(usae.parameters()):
                drawn = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * step + number))
                p.grad = drawn / 1e4 if step == 1 else drawn  # in between one that is short enough
        for name in usaes[0].names:
            torch.nn.utils.clip_grad_norm_(trained_parameters(usaes[0], name, recipe), clip)
        norms = gradient_norms(usaes[1], usaes[1].names, recipe)
        assert clip_gradients(usaes[1], usaes[1].names, recipe, optimizers[1], norms, norms.tolist()) == []
        for own in optimizers:
            for optimizer in own.values():
                optimizer.step()
        for p, expected in zip(usaes[1].parameters(), usaes[0].parameters(), strict=True):
            torch.testing.assert_close(p.grad, expected.grad, atol=0, rtol=1e-5)
            torch.testing.assert_close(p, expected, atol=1e-7, rtol=1e-6)


def test_a_usae_that_is_not_whole_is_refused() -> None:
    usae = new_usae(WIDTHS, toy_settings(DEFAULT))
    with torch.no_grad():
        usae.encoder("b").linear.weight[3, 2] = math.nan
    with pytest.raises(ValueError, match=r"encoders.b.linear.weight of the USAE has values that are NaN"):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT), usae)
