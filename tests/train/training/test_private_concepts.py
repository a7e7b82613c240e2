"""Concepts that one backbone has for itself: trained, kept, and nothing to the others, to the bit."""

import json
from pathlib import Path

import pytest
import torch
from toys import WIDTHS, toy_settings, toy_tokens
from typer.testing import CliRunner

import usae_train as ut
from usae_train.agreement.members import check_members
from usae_train.cli import app
from usae_train.evaluation.evaluate import concept_figures
from usae_train.interventions.edits import check_not_others
from usae_train.model.firing import measure
from usae_train.model.private import CLOSED, PrivateConcepts, private_ranges
from usae_train.model.sparse import top_k
from usae_train.model.sparsity.splittopk import SplitTopK
from usae_train.model.sparsity.topk import TopK
from usae_train.model.sparsity.variant import Sparsity
from usae_train.runtime.signals import Stopped
from usae_train.tokens.paired import PairedTokens
from usae_train.training.add_backbone import GrownSpace, add_untrained_pair, growth_settings
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.fitting import fit_settings
from usae_train.training.logging.step_metrics import dead_of
from usae_train.training.loop import Trainer, fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import step_loss

RECIPES = {
    "default": DEFAULT,
    "published": PUBLISHED,
    "all": TrainingRecipe(sparsity="jumprelu", dictionary="archetypal", matryoshka="drawn", unit_norm=True),
    "batchtopk": TrainingRecipe(sparsity="batchtopk"),
}


# {(n_shared, k_private): why these cannot be, of 12 concepts, 2 of each backbone, 3 active}
CONTRADICTIONS = {
    (7, 1): "shares the first 7 concepts, and the space 6 of 12; expected the same",
    (0, 1): "shares the first 0 concepts, and the space 6 of 12",
    (6, 0): "0 of 3 active concepts are private; expected some of both kinds, at most 2 private ones and 6 shared",
    (6, 3): "3 of 3 active concepts are private; expected some of both kinds",
}


def trained(recipe: TrainingRecipe = DEFAULT, **changes: int) -> ut.USAE:
    return fit_tokens(toy_tokens(), toy_settings(recipe, **{"n_private": 2, "steps": 12, **changes}))


def bits(usae: ut.USAE) -> dict[str, bytes]:
    return {name: own.numpy().tobytes() for name, own in usae.state_dict().items()}


def measured(usae: ut.USAE) -> ut.USAE:
    tokens = {name: own.view(8, 8, -1) for name, own in toy_tokens().items()}
    usae.statistics = measure(usae, PairedTokens(tokens, torch.arange(8)))
    return usae


class StopsAfter(TrainingCheckpointer):
    def after(self, step, state, *others):
        self._write(step, state)
        if step == 5:
            raise Stopped("enough")


def test_which_concepts_are_whose() -> None:
    own = PrivateConcepts(list(WIDTHS), 12, private_ranges(list(WIDTHS), 12, 2))
    assert own.n_shared == 6
    assert {name: list(own.of(name)) for name in WIDTHS} == {"a": [6, 7], "b": [8, 9], "c": [10, 11]}
    assert [own.owner(concept) for concept in (0, 5, 6, 9, 11)] == [None, None, "a", "b", "c"]
    assert own.is_foreign("b").nonzero().flatten().tolist() == [6, 7, 10, 11]
    assert own.counts() == dict.fromkeys("abc", 8)
    assert own.matryoshka_fractions((0.25, 0.5)) == (0.125, 0.25, 0.5)
    assert own.in_words() == "6 shared; private: a 6 to 7, b 8 to 9, c 10 to 11"
    none = PrivateConcepts(list(WIDTHS), 12)
    assert (bool(none), none.n_shared, none.owner(11), none.foreign("a"), none.in_words()) == (False, 12, None, [], "")
    assert none.matryoshka_fractions((0.25,)) == (0.25,)


@pytest.mark.parametrize(
    ("recipe", "k_private"), [*((own, 0) for own in RECIPES.values()), (DEFAULT, 1)], ids=[*RECIPES, "split"]
)
def test_what_is_private_is_nothing_to_the_others(
    tmp_path: Path, recipe: TrainingRecipe, k_private: int | None
) -> None:
    settings, tokens = toy_settings(recipe, steps=12, n_private=2, k_private=k_private), toy_tokens()
    whole = fit_tokens(tokens, settings)
    with pytest.raises(Stopped):
        fit_tokens(tokens, settings, checkpointer=StopsAfter(tmp_path / "states"))
    assert bits(fit_tokens(tokens, settings, checkpointer=TrainingCheckpointer(tmp_path / "states"))) == bits(whole)
    ut.save(whole, tmp_path / "usae", half=True)
    start = new_usae(WIDTHS, settings)
    for usae in (whole, ut.load(tmp_path / "usae")):
        assert usae.private == whole.private
        for name, own in tokens.items():
            foreign, pre_codes, codes = usae.private.is_foreign(name), usae.pre_codes(name, own), usae.encode(name, own)
            assert (pre_codes[:, foreign] == CLOSED).all()
            assert (pre_codes[:, ~foreign] > CLOSED / 2).all()
            assert not codes.dense(12)[:, foreign].any()
            assert not usae.rows(name)[foreign].any()
            assert usae.dictionary(name)[~foreign].norm(dim=1).allclose(torch.ones(8), atol=1e-3)
            shared = ut.Codes(codes.values * (codes.indices < 6), codes.indices)
            for other in WIDTHS:
                if other != name:  # private codes add nothing, to the bit
                    assert torch.equal(usae.decode(other, codes), usae.decode(other, shared))
            kept = codes.values[(codes.indices >= 6) & (codes.values > 0)]
            assert len(kept) > 0
            assert (codes.values.diff() <= 0).all()
            if k_private:
                assert ((codes.indices >= 6).sum(1) == k_private).all()
    for name in WIDTHS:  # they have learned
        own = list(whole.private.of(name))
        assert not torch.equal(whole.decoder(name).weight[own], start.decoder(name).weight[own])
        assert not torch.equal(whole.encoder(name).linear.weight[own], start.encoder(name).linear.weight[own])


def test_without_private_concepts_nothing_is_otherwise(tmp_path: Path) -> None:
    ut.save(trained(n_private=0), tmp_path / "usae")
    assert "private" not in json.loads((tmp_path / "usae" / "config.json").read_text())
    assert not ut.load(tmp_path / "usae").private


def test_others_own_concepts_are_neither_dead_nor_clipped_by(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Tensor, list[float]]] = []
    taken = Trainer._gradients

    def remember(trainer, loss, stepping):
        found = taken(trainer, loss, stepping)
        for name in stepping:
            foreign = trainer.usae.private.is_foreign(name)
            parts = (trainer.usae.decoder(name).weight.grad, trainer.usae.encoder(name).linear.weight.grad)
            seen.append((trainer.dead[trainer.usae.names.index(name)] & foreign, [p[foreign].norm() for p in parts]))
        return found

    monkeypatch.setattr(Trainer, "_gradients", remember)
    trained(TrainingRecipe(dead_after=1))
    assert len(seen) == 36
    assert not any(dead.any() or any(norms) for dead, norms in seen)
    usae = measured(trained())
    figures = concept_figures(usae, usae.statistics)
    for row, name in enumerate(usae.names):
        own = ~usae.private.is_foreign(name)
        never = int((usae.statistics.fires[row] == 0)[own].sum())
        assert figures["dead"][name] == never
        assert dead_of(usae)[name] == never / 8
    assert figures["entropy"]["mean"] == pytest.approx(usae.statistics.firing_entropy[:6].nanmean().item())


def test_shared_concepts_explain_the_tokens_alone_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def remember(usae, batch, plan, *more):
        seen.append(plan.fractions)
        return step_loss(usae, batch, plan, *more)

    monkeypatch.setattr("usae_train.training.loop.step_loss", remember)
    trained(steps=1)
    trained(steps=1, n_private=0)
    assert seen == [(0.125, 0.5), (0.25,)]


@pytest.mark.parametrize("k_private", [0, 1])
def test_a_backbone_is_added_to_shared_concepts_alone(k_private: int) -> None:
    usae, tokens = (
        trained(k_private=k_private),
        {**toy_tokens(), "d": torch.randn(64, 4, generator=torch.Generator().manual_seed(1))},
    )
    settings = growth_settings(usae, steps=12, batch=32)
    grown = add_untrained_pair(usae, "d", None, 4, settings)
    grown.specs = {}
    before = {key: own for key, own in bits(grown).items() if key.split(".")[1] != "d"}
    fit_tokens(tokens, settings, grown, frozen=usae.names)
    assert {key: own for key, own in bits(grown).items() if key.split(".")[1] != "d"} == before
    assert grown.sparsity == usae.sparsity
    assert grown.private.counts() == {"a": 8, "b": 8, "c": 8, "d": 6}
    assert (grown.pre_codes("d", tokens["d"])[:, 6:] == CLOSED).all()
    assert not grown.rows("d")[6:].any()
    with pytest.raises(ValueError, match=r"d has no concepts of its own; those that have some are a, b, c"):
        grown.private.of("d")


def test_a_space_with_slots_is_compared_with_one_that_has_none_and_says_what_an_added_backbone_lacks() -> None:
    usae = trained(k_private=1)
    settings = growth_settings(usae)
    assert settings.recipe.sparsity == "topk"
    whole = add_untrained_pair(usae, "d", None, 4, settings)
    assert whole.sparsity == usae.sparsity == SplitTopK(n_shared=6, k_private=1)
    grown = GrownSpace(whole, "d", 2, {a: dict.fromkeys("abcd", 0.5) for a in "abcd"}, None)
    assert f"d has no private concepts: {usae.k - 1} are active per patch, not {usae.k}" in grown.in_words()
    with pytest.raises(ValueError, match="k_private is 2; the space stays as it is"):
        growth_settings(usae, k_private=2)


def test_a_folder_that_is_not_what_it_says_is_one_line(tmp_path: Path) -> None:
    usae = trained()
    usae.decoder("b").weight.data[6, 0] = 1e-3
    folder = ut.save(usae, tmp_path / "usae")
    with pytest.raises(
        ValueError, match=r"safetensors is broken: b has weights for concepts that are private to others"
    ):
        ut.load(folder)
    config = json.loads((folder / "config.json").read_text())
    for numbers, why in CONTRADICTIONS.items():
        slots = {"kind": "splittopk", "n_shared": numbers[0], "k_private": numbers[1]}
        (folder / "config.json").write_text(json.dumps({**config, "sparsity": slots}))
        with pytest.raises(ValueError, match=rf"config\.json: [^\n]*{why}[^\n]*$"):
            ut.load(folder)
    for said, why in (
        ({"a": [6, 8], "b": [8, 10]}, r"private concepts are a 6 to 8, b 8 to 10; expected ranges .* end at 12"),
        ({"z": [6, 12]}, "private concepts of z; expected backbones of a, b, c"),
        ({"a": [0, 12]}, "private concepts are 12 of 12; expected some that are left to share"),
        ({"a": [12, 6]}, "expected ranges that follow one another"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, "private": said}))
        with pytest.raises(ValueError, match=why) as caught:
            ut.load(folder)
        assert "\n" not in str(caught.value)


def test_of_a_tokens_slots_as_many_are_private_as_is_told() -> None:
    """Each part's largest, as in the whole of TopK; and training computes what encoding keeps."""

    def split(**changes: int) -> Sparsity:
        return new_usae(WIDTHS, toy_settings(DEFAULT, **{"n_private": 2, "k": 5, **changes})).sparsity

    assert split() == TopK()
    assert split(k_private=1) == SplitTopK(n_shared=6, k_private=1)
    pre_codes = torch.rand(40, 12, generator=torch.Generator().manual_seed(0)) + 0.1  # of those below 0 any fill up
    slots = split(k_private=1)
    codes, chosen = slots.codes(pre_codes, 5, None), slots.choose(pre_codes, 5, None)
    shared, private = top_k(pre_codes[:, :6], 4).dense(6), top_k(pre_codes[:, 6:], 1).dense(6)
    assert torch.equal(codes.dense(12), torch.cat([shared, private], 1))
    assert torch.equal(chosen.concepts.view(40, 5), codes.indices.sort(1).values)
    assert torch.equal(chosen.tokens, torch.arange(40).repeat_interleave(5))


def test_slots_that_contradict_the_space_are_refused_where_a_usae_is_made() -> None:
    private = private_ranges([*WIDTHS], 12, 2)
    for (n_shared, k_private), why in CONTRADICTIONS.items():
        with pytest.raises(ValueError, match=f"^[^\n]*{why}[^\n]*$"):
            ut.USAE(WIDTHS, 12, 3, sparsity=SplitTopK(n_shared=n_shared, k_private=k_private), private=private)
    with pytest.raises(ValueError, match="shares the first 6 concepts, and the space 12 of 12"):
        ut.USAE(WIDTHS, 12, 3, sparsity=SplitTopK(n_shared=6, k_private=1))


@pytest.mark.parametrize("said", ["splittopk", {"kind": "splittopk", "n_shared": 6, "k_private": 1}, SplitTopK()])
def test_slots_are_asked_for_by_their_numbers_alone(said: object, tmp_path: Path) -> None:
    """Given as a sparsity they could contradict the numbers beside it."""
    file = tmp_path / "mine.yaml"
    file.write_text("sparsity: {kind: splittopk, n_shared: 6, k_private: 1}\n")
    asks = (
        lambda: ut.fit(toy_tokens(), n_concepts=12, k=3, steps=1, sparsity=said),  # type: ignore[arg-type]
        lambda: FitSettings(n_private=2, k_private=1, sparsity=said),  # type: ignore[arg-type]
        lambda: TrainingRecipe(sparsity=said),  # type: ignore[arg-type]
        lambda: ut.fit(toy_tokens(), n_concepts=12, k=3, steps=1, recipe=str(file)),
        lambda: growth_settings(trained(k_private=1), sparsity=said),  # type: ignore[arg-type]
    )
    for ask in asks:
        with pytest.raises(ValueError, match=r"^[^\n]*sparsity 'splittopk' comes from n_private and k_private; give"):
            ask()


def test_what_cannot_be_is_one_line() -> None:
    usae, plain = trained(steps=1), trained(n_private=0, steps=1)
    asks = {
        "n_private is 4, for each of 3 backbones, of 12 concepts": lambda: trained(n_private=4),
        "this USAE has no private concepts": lambda: plain.private.of("a"),
        "unknown backbone 'z'; this USAE has a, b, c": lambda: usae.private.of("z"),
        "n_private is 2; the space stays as it is": lambda: growth_settings(usae, n_private=2),
        "has private concepts; a consensus needs trainings": lambda: check_members([usae, trained(seed=1, steps=1)]),
        "concept 6 is private to a; editing it changes nothing in b": lambda: check_not_others(usae, "b", [0, 6]),
        "n_private = -1": lambda: fit_settings("default", n_private=-1),
        "k_private is 2, and no concepts are private": lambda: fit_settings("default", k_private=2),
        "k_private is 3; expected less than k = 3": lambda: fit_settings("default", k=3, n_private=4, k_private=3),
        "k_private is 2; expected .* at most n_private = 1": lambda: fit_settings("default", n_private=1, k_private=2),
        "k_private is for sparsity 'topk', and this one is 'jumprelu'": lambda: fit_settings(
            "default", n_private=4, k_private=2, sparsity="jumprelu"
        ),
        "k is 9, and a backbone has 6 shared concepts and 2 of its own; expected k <= 8": lambda: trained(k=9),
        "0.9 of 4 concepts are parts of 4; expected numbers that rise": lambda: trained(
            DEFAULT.model_copy(update={"matryoshka_fractions": (0.9,)}), n_concepts=10
        ),
        "k is 13 and n_concepts 12": lambda: toy_settings(DEFAULT, k=13),
        "1 of 8 active concepts are private; .* at most 2 private ones and 6 shared": lambda: trained(k=8, k_private=1),
    }
    for why, ask in asks.items():
        with pytest.raises(ValueError, match=why) as caught:
            ask()
        assert "\n" not in str(caught.value)
    check_not_others(usae, "a", [0, 6])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--independent"], "--n-private needs one training of several backbones; an SAE has all concepts for itself"),
        (["--starts", "2"], "--n-private needs one training of several backbones; a consensus is of concepts that all"),
    ],
)
def test_trainings_that_cannot_have_some_say_so(tmp_path: Path, words: list[str], why: str) -> None:
    said = CliRunner().invoke(app, ["fit", "demo", "--out", str(tmp_path / "usae"), "--n-private", "2", *words])
    assert said.exit_code == 2
    assert why in " ".join(said.stderr.split())
    assert not list(tmp_path.iterdir())
