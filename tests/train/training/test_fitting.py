from pathlib import Path
from typing import Any

import pytest
import torch

import usae_train
import usae_train.demo.build
import usae_train.photos.build
from usae_train.backbones.backbone import BackboneSpec
from usae_train.backbones.spec import PAPER
from usae_train.images.sources import open_images
from usae_train.model.firing import measure
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_train.tokens import paired
from usae_train.tokens.paired import PairedTokens
from usae_train.training import fitting
from usae_train.training.fitting import fit
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.resolving import allowed_memory, fit_settings
from usae_train.training.settings import DEFAULT, PUBLISHED

SMALL = {"n_concepts": 8, "k": 2, "steps": 3, "batch": 16}


def toy_tokens() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(50, width, generator=generator) for name, width in (("a", 6), ("b", 4))}


def test_fit_on_tokens_measures_statistics_on_the_same_tokens() -> None:
    tokens = toy_tokens()
    usae = usae_train.fit(tokens, **SMALL)
    assert (usae.names, usae.n_concepts, usae.k, usae.recipe) == (["a", "b"], 8, 2, "default")
    assert usae.statistics is not None
    assert usae.statistics.counts.tolist() == [50, 50]
    codes = usae.encode("a", tokens["a"]).dense(8)
    assert torch.equal(usae.statistics.fires[0], (codes > 0.1).sum(0))


def test_fit_on_pictures(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> None:
    (picture_folder / "1.png").write_text("broken")
    failures: list[str] = []
    steps: list[int] = []
    callbacks = FitCallbacks(steps=lambda step, figures: steps.append(step), failure=failures.append)
    usae = fit(picture_folder, backbones=tiny_specs, recipe="published", callbacks=callbacks, max_broken=0.2, **SMALL)
    assert usae.widths == {"vit": 32, "conv": 24}
    assert usae.grid == (2, 2)
    assert usae.specs == tiny_specs
    assert usae.recipe == "published"
    assert usae.measured_on.name == str(picture_folder)
    assert usae.measured_on.fingerprint == open_images(picture_folder).fingerprint()
    assert usae.statistics is not None
    assert usae.statistics.counts.tolist() == [5, 20]
    assert set(usae.statistics.top_images.unique().tolist()) <= {-1, 0, 2, 3, 4, 5}
    assert steps[-1] == 3
    assert [failure[:5] for failure in failures] == ["1.png"]
    canvas = open_images(picture_folder).read(3, 64)[None]
    seen = PairedTokens({name: usae.tokens(name, canvas) for name in usae.names}, torch.tensor([3]))
    assert measure(usae, seen).counts.tolist() == [1, 4]


def test_processes_that_read_pictures_change_no_bit(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = paired.read_batches

    def noted(*given: Any) -> Any:
        asked.append(given[-1])
        return read(*given)

    monkeypatch.setattr(paired, "read_batches", noted)
    alone, helped = (fit(picture_folder, backbones=tiny_specs, readers=n, **SMALL) for n in (0, 2))
    assert asked == [0, 2]
    assert all(torch.equal(own, helped.state_dict()[name]) for name, own in alone.state_dict().items())


def test_workers_that_cannot_be_are_one_line(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> None:
    with pytest.raises(ValueError, match="readers -1: expected a whole number >= 0"):
        fit(picture_folder, backbones=tiny_specs, readers=-1, **SMALL)
    with pytest.raises(ValueError, match="readers are for pictures; the data is tokens already"):
        fit(toy_tokens(), readers=2, **SMALL)


def test_limit_takes_so_many_pictures(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> None:
    usae = fit(str(picture_folder), backbones=tiny_specs, limit=2, **SMALL)
    assert usae.statistics is not None
    assert usae.statistics.counts[0] == 2


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"limit": 2}, "limit is for pictures"),
        ({"dtype": "bfloat16"}, "dtype is for pictures"),
        ({"max_broken": 0.2}, "max_broken is for pictures"),
        ({"backbones": "demo"}, "backbones are for pictures"),
    ],
)
def test_options_of_pictures_are_refused_with_tokens(option: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"{text}; the data is tokens already"):
        fit(toy_tokens(), **SMALL, **option, quiet=True)


def test_fit_leaves_the_global_generator_alone_and_does_not_heed_it(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path
) -> None:
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.random.get_rng_state()
        weights.append(fit(picture_folder, backbones=tiny_specs, **SMALL).state_dict())
        assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_fit_does_not_change_the_tokens_it_was_given() -> None:
    tokens = toy_tokens()
    fit(tokens, **SMALL)
    assert all(torch.equal(own, toy_tokens()[name]) for name, own in tokens.items())


def test_tokens_with_a_gradient_are_taken_without_it() -> None:
    plain = fit(toy_tokens(), **SMALL)
    kept = {name: own.requires_grad_() for name, own in toy_tokens().items()}
    assert torch.equal(fit(kept, **SMALL).dictionary("a"), plain.dictionary("a"))
    assert all(own.grad is None for own in kept.values())


def test_recipes_by_name_and_by_value() -> None:
    assert fit_settings("published").recipe == PUBLISHED
    assert fit_settings("default").recipe == DEFAULT
    assert fit_settings(DEFAULT.model_copy(update={"max_grad_norm": 2.0})).recipe.max_grad_norm == 2.0


def test_the_published_recipe_is_the_authors() -> None:
    assert PUBLISHED.model_dump() == {
        "name": "published",
        "own_weight": 1.0,
        "batch_norm": True,
        "offset": False,
        "dictionary_init": "random",
        "tied": False,
        "renormalize": True,
        "standardization": "scalar",
        "frozen": False,
        "shuffled": False,
        "encoding": "one",
        "loss": "absolute",
        "auxiliary": "left_out",
        "auxiliary_weight": 0.1,
        "matryoshka_fractions": (),
        "dead_after": 200,
        "learning_rate": 3e-4,
        "final_learning_rate": 1e-6,
        "warm_up": 1 / 30,
        "betas": (0.9, 0.999),
        "weight_decay": 1e-5,
        "max_grad_norm": 1.0,
        "batch": 6272,
        "unit_norm": True,
        "noise": 0.0,
        "sparsity": "topk",
        "dictionary": "free",
        "matryoshka": "fixed",
    }
    settings = fit_settings("published")
    assert (settings.n_concepts, settings.k) == (6144, 32)


def test_packaged_universes_are_built_as_they_were_made_whatever_the_default_is_since() -> None:
    photos = {
        "name": "default",
        "own_weight": 1.0,
        "batch_norm": False,
        "offset": True,
        "dictionary_init": "tokens",
        "tied": True,
        "renormalize": False,
        "standardization": "whitened",
        "frozen": False,
        "shuffled": False,
        "encoding": "share",
        "loss": "squared",
        "auxiliary": "dead",
        "auxiliary_weight": 1 / 32,
        "matryoshka_fractions": (0.25,),
        "dead_after": 50,
        "learning_rate": 1e-2,
        "final_learning_rate": 1e-5,
        "warm_up": 0.03,
        "betas": (0.9, 0.999),
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "batch": 4096,
        "unit_norm": True,
        "noise": 0.0,
        "sparsity": "topk",
        "dictionary": "free",
        "matryoshka": "fixed",
    }
    assert usae_train.photos.build.SETTINGS.recipe.model_dump() == photos
    demo = {"encoding": "all", "standardization": "scalar", "weight_decay": 0.0, "dead_after": 200}
    assert usae_train.demo.build.SETTINGS.recipe.model_dump() == photos | demo


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "defualt"}, "unknown recipe 'defualt'; expected default or frozen or published or shuffled"),
        ({"recipe": DEFAULT, "n_concept": 5}, r"n_concept = 5: .*; did you mean 'n_concepts'\?"),
        ({"recipe": DEFAULT, "steps": 0}, "steps = 0: expected at least 1"),
        ({"recipe": DEFAULT, "batch": "many"}, "batch = 'many': expected a whole number"),
        ({"recipe": DEFAULT, "seed": 10**20}, "seed = 100000000000000000000: .*less than 18446744073709551616"),
        ({"recipe": DEFAULT, "init_seed": 2**64}, "init_seed = 18446744073709551616: .*less than"),
        ({"recipe": "published", "batch": 1}, "batch is 1, and recipe 'published' normalizes .*; expected 2 tokens"),
        ({"recipe": DEFAULT, "n_concepts": 4, "k": 5}, "k is 5 and n_concepts 4; expected k <= n_concepts"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_settings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("gigabytes", [-1.0, float("nan"), float("inf")])
def test_memory_that_is_no_size_is_refused(gigabytes: float) -> None:
    with pytest.raises(ValueError, match=f"--memory is {gigabytes} GB; expected a number of GB, 0 or more"):
        allowed_memory(gigabytes)


def test_tokens_and_backbones_together_are_refused(tiny_specs: dict[str, BackboneSpec]) -> None:
    with pytest.raises(ValueError, match="backbones are for pictures; the data is tokens already"):
        fit(toy_tokens(), backbones=tiny_specs, **SMALL)


def test_pictures_without_backbones_are_refused(picture_folder: Path) -> None:
    with pytest.raises(ValueError, match="no backbones to see the pictures with"):
        fit(picture_folder, **SMALL)


def test_backbones_are_named_as_the_command_line_names_them(
    picture_folder: Path, tiny_specs: dict[str, BackboneSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(fitting, "fit_pictures", lambda source, settings, specs, *rest, **how: seen.append(specs))
    for told in ("resnet18.a1_in1k,resnet50.a1_in1k", "paper", {"a": "resnet18.a1_in1k", **tiny_specs}):
        fit(picture_folder, backbones=told, quiet=True, **SMALL)
    ids, paper, mixed = seen
    assert {name: spec.model for name, spec in ids.items()} == {
        "resnet18": "resnet18.a1_in1k",
        "resnet50": "resnet50.a1_in1k",
    }
    assert paper == PAPER
    assert mixed == {"a": BackboneSpec(model="resnet18.a1_in1k"), **tiny_specs}


def test_callbacks_are_taken_by_their_former_name() -> None:
    steps: list[int] = []
    callbacks = FitCallbacks(steps=lambda step, figures: steps.append(step), log_every=1)
    with pytest.warns(FormerNameWarning, match=r"^watch is called callbacks now; write callbacks$"):
        usae_train.fit(toy_tokens(), watch=callbacks, **SMALL)
    assert steps == [1, 2, 3]
    with pytest.raises(ValueError, match=r"^watch is the former name of callbacks; give callbacks alone$"):
        usae_train.fit(toy_tokens(), watch=callbacks, callbacks=callbacks, **SMALL)


def test_the_packages_names_are_all_there() -> None:
    assert all(getattr(usae_train, name) is not None for name in usae_train.__all__)
    assert set(usae_train.__all__) <= set(dir(usae_train))
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        _ = usae_train.fitt
    with pytest.warns(FormerNameWarning, match="called ut.TrainingRecipe now"):
        assert usae_train.Recipe is usae_train.TrainingRecipe
