"""A consensus of several trainings: what is kept, what its folder says, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import assert_one_error, run
from safetensors.torch import save_file

import usae_train as ut
from usae_train.agreement.consensus import consensus_settings
from usae_train.demo.activations import KnownWorld, known_world
from usae_train.evaluation.metrics import matched_cosine
from usae_train.model.agreement import AGREEMENT
from usae_train.runtime.progress import StepCallback
from usae_train.runtime.signals import Stopped
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.settings import DEFAULT

SIZES: dict[str, Any] = {"n_concepts": 24, "k": 6, "steps": 60, "batch": 256}
WORDS = ["--steps", "2", "--batch", "16", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def world() -> KnownWorld:
    return known_world(2000, torch.Generator().manual_seed(0), shared=16, n_private=4)


@pytest.fixture(scope="module")
def trainings(world: KnownWorld) -> list[ut.USAE]:
    return [ut.fit(world.tokens, **SIZES, seed=start, init_seed=start) for start in range(6)]


@pytest.fixture(scope="module")
def made(world: KnownWorld, trainings: list[ut.USAE]) -> ut.USAE:
    return ut.consensus(trainings[:3], world.tokens, alike=0.5, steps=60, batch=256)


@pytest.fixture(scope="module")
def folder(made: ut.USAE, trainings: list[ut.USAE], world: KnownWorld, tmp_path_factory: Any) -> Path:
    room: Path = tmp_path_factory.mktemp("consensus")
    ut.save(made, room / "made")
    for number in range(2):
        ut.save(trainings[number], room / f"start-{number}")
    save_file({name: own[:64] for name, own in world.tokens.items()}, room / "tokens.safetensors")
    return room


def agreement_of(one: ut.USAE, other: ut.USAE) -> float:
    """Mean cosine of two spaces' atoms, matched one to one."""
    smaller, larger = sorted((one, other), key=lambda own: own.n_concepts)
    return matched_cosine(*([own.dictionary(name) for name in own.names] for own in (smaller, larger)))


def test_two_consensus_spaces_agree_more_than_two_trainings(world, trainings, made):
    other = ut.consensus(trainings[3:], world.tokens, alike=0.5, steps=60, batch=256)
    single = sum(agreement_of(one, trainings[3]) for one in trainings[:3]) / 3
    assert agreement_of(made, other) > single + 0.05


def test_it_says_when_it_is_done_how_it_went_and_nothing_when_quiet(world, trainings, capsys):
    for quiet in (False, True):
        found = ut.consensus(trainings[:2], world.tokens, alike=0.5, steps=2, batch=64, quiet=quiet)
        said = capsys.readouterr().err
        assert said.startswith(f"{found.n_concepts} concepts over ") != quiet
        assert ("in memory only: ut.save" in said) != quiet
        assert not (quiet and said)


def test_every_concept_says_in_which_share_it_came_back_the_most_frequent_first(made):
    share = made.agreement
    assert share.shape == (made.n_concepts,)
    assert torch.equal((share * 3).round() / 3, share)
    assert share.min() > 0.6
    assert bool((share.diff() <= 0).all())
    assert made.statistics.dead_share.max() < 0.5


@pytest.mark.parametrize("sparsity", ["batchtopk", "jumprelu"])
def test_a_consensus_is_as_sparse_as_its_trainings(world, sparsity):
    variants = [ut.fit(world.tokens, **{**SIZES, "init_seed": start, "sparsity": sparsity}) for start in range(2)]
    agreed = ut.consensus(variants, world.tokens, alike=0.3, steps=60, batch=256)
    assert agreed.sparsity == variants[0].sparsity
    assert agreed.statistics.dead_share.max() < 0.5


@pytest.mark.parametrize("matryoshka", ["fixed", "drawn"])
def test_no_part_of_a_consensus_explains_the_tokens_alone_unless_it_is_told(trainings, matryoshka):
    """Which concepts come first is chance where as many trainings have them: two spaces would be bent apart by it."""
    recipe = DEFAULT.model_copy(update={"matryoshka": matryoshka})
    assert consensus_settings(trainings, recipe).recipe.matryoshka_fractions == ()
    nested = consensus_settings(trainings, DEFAULT, matryoshka=matryoshka).recipe
    assert nested.matryoshka_fractions == DEFAULT.matryoshka_fractions
    with pytest.raises(ValueError, match="k_private is 2; the concepts of a consensus are shared"):
        consensus_settings(trainings, DEFAULT, k_private=2)
    told = consensus_settings(trainings, recipe, matryoshka_fractions=(0.5,)).recipe
    assert (told.matryoshka_fractions, told.matryoshka) == ((0.5,), matryoshka)


def test_more_is_asked_and_less_is_kept(world, trainings, made):
    strict = ut.consensus(trainings[:3], world.tokens, share=1.0, alike=0.5, steps=1, batch=256)
    assert strict.n_concepts == int((made.agreement == 1).sum())


def test_a_folder_keeps_the_shares_and_one_without_has_none(folder, made):
    assert torch.equal(ut.load(folder / "made").agreement, made.agreement)
    assert ut.load(folder / "start-0").agreement is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"share": torch.ones(3)}, "expected 'share' of"),
        ({"other": torch.ones(1)}, "expected 'share' of"),
        (None, "belongs to another USAE (weights None"),
        (b"{", "is broken or incomplete"),
    ],
)
def test_shares_that_are_none_are_refused(folder, made, tmp_path, content, text):
    shutil.copytree(folder / "made", tmp_path / "broken")
    file = tmp_path / "broken" / AGREEMENT
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file(content or {"share": made.agreement}, file)
    with pytest.raises(ValueError, match=r"agreement\.safetensors") as found:
        ut.load(tmp_path / "broken")
    assert text in str(found.value)


def other(world: KnownWorld, **changes: Any) -> ut.USAE:
    return ut.fit(world.tokens, **{**SIZES, "steps": 1, **changes})


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (lambda first, world: [first], "a consensus needs two trainings or more; got 1"),
        (lambda first, world: [first, first], "training 1 and training 1 are the same training; give each once"),
        (lambda first, world: [first, other(world, n_concepts=25)], "training 2 has n_concepts 25, and training 1 24"),
        (lambda first, world: [first, other(world, k=5)], "training 2 has k 5, and training 1 6"),
        (
            lambda first, world: [first, ut.fit({"a": world.tokens["a"]}, **{**SIZES, "steps": 1})],
            "training 2 has backbones a, and training 1 a, b, c",
        ),
        (
            lambda first, world: [first, ut.fit({**world.tokens, "b": world.tokens["a"]}, **{**SIZES, "steps": 1})],
            "training 2 has widths a 64, b 64, c 64, and training 1 a 64, b 48, c 64",
        ),
    ],
)
def test_trainings_that_are_not_of_a_kind_are_refused(world, trainings, members, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        ut.consensus(members(trainings[0], world), world.tokens)
    assert text in str(found.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"share": 0.0}, "share is 0.0; expected a number above 0 and up to 1"),
        ({"alike": 1.5}, "alike is 1.5; expected a number above 0 and up to 1"),
        ({"alike": 1.0}, "fewer than k = 6; train longer, or lower --share or --alike"),
        ({"limit": 2}, "limit is for pictures; the data is tokens already"),
        ({"max_broken": 0.2}, "max_broken is for pictures; the data is tokens already"),
        ({"k": 3}, "k is 3, but the USAEs have 6"),
        ({"sparsity": "batchtopk"}, "sparsity is 'batchtopk', but the USAEs have 'topk'; leave it out"),
        ({"recipe": DEFAULT.model_copy(update={"sparsity": "jumprelu"})}, "sparsity is 'jumprelu', but the USAEs have"),
        ({"dictionary": "archetypal"}, "dictionary is 'archetypal'; a consensus averages the USAEs' rows"),
    ],
)
def test_what_cannot_be_asked(world, trainings, options, text):
    with pytest.raises(ValueError) as found:  # noqa: PT011
        ut.consensus(trainings[:2], world.tokens, **options)
    assert text in str(found.value)


def test_tokens_of_other_backbones(world, trainings):
    with pytest.raises(ValueError, match=r"the tokens have backbones and widths a 64; expected those of the USAEs: a"):
        ut.consensus(trainings[:2], {"a": world.tokens["a"]})


def test_the_command(folder, tmp_path):
    words = ["consensus", folder / "start-0", folder / "start-1", "--data", folder / "tokens.safetensors"]
    assert run(*words, "--out", tmp_path / "made", *WORDS) == (0, "", "")
    loaded = ut.load(tmp_path / "made")
    assert loaded.agreement is not None
    assert (tmp_path / "made" / "metrics.jsonl").is_file()
    assert_one_error(
        run(*words[:2], *words[3:], "--out", tmp_path / "two", *WORDS), "needs two trainings or more; got 1"
    )
    assert_one_error(run(*words, "--out", tmp_path / "made", *WORDS), "exists already")


@pytest.mark.parametrize("at", [2, 5])
def test_one_that_was_stopped_goes_on_to_the_same_bits(world, trainings, tmp_path, at):
    def made(
        checkpointer: TrainingCheckpointer | None = None, steps: StepCallback = lambda step, figures: None
    ) -> ut.USAE:
        callbacks = FitCallbacks(steps=steps, log_every=1)
        options = {"alike": 0.5, "steps": 8, "batch": 64, "callbacks": callbacks, "checkpointer": checkpointer}
        return ut.consensus(trainings[:2], world.tokens, **options)

    def stop(step: int, figures: object) -> None:  # noqa: ARG001
        if step == at + 1:
            raise Stopped("stopped", 15)

    seen: list[int] = []
    whole = made(steps=lambda step, figures: seen.append(step))
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(Stopped):
        made(TrainingCheckpointer(tmp_path, 0), stop)
    seen.clear()
    again = made(TrainingCheckpointer(tmp_path, 0), lambda step, figures: seen.append(step))
    assert seen == list(range(at + 1, 9))
    assert all(torch.equal(own, again.state_dict()[name]) for name, own in whole.state_dict().items())


def test_a_fit_from_several_starts_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    words = ["fit", folder / "tokens.safetensors", "--starts", "3", "--n-concepts", "12", "-k", "3"]
    out = tmp_path / "made"
    with monkeypatch.context() as broken:
        broken.setattr("usae_train.agreement.consensus.cluster", lambda rows, alike: 1 / 0)
        assert run(*words, "--out", out, *WORDS)[0] == 1
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / ".made.starts").glob("start-*/model.safetensors")}
    assert len(before) == 3
    assert not out.exists()
    assert run(*words, "--out", out, *WORDS) == (0, "", "")
    assert ut.load(out).agreement is not None
    assert not (tmp_path / ".made.starts").exists()


def test_starts_and_independent_are_two_things(folder, tmp_path):
    words = ["fit", folder / "tokens.safetensors", "--starts", "3", "--independent", "--out", tmp_path / "made"]
    code, _, err = run(*words)
    assert code == 2
    assert "--independent and --starts: give one of them" in " ".join(err.split())


def test_callbacks_are_taken_by_their_former_name(world, trainings):
    seen: list[int] = []
    callbacks = FitCallbacks(steps=lambda step, figures: seen.append(step), log_every=1)
    with pytest.warns(FormerNameWarning, match=r"^watch is called callbacks now; write callbacks$"):
        ut.consensus(trainings[:2], world.tokens, alike=0.5, steps=2, batch=64, watch=callbacks)
    assert seen == [1, 2]
